#include "control/client.h"

#include <algorithm>
#include <utility>

#include "control/directories.h"
#include "control/protocol.h"
#include "sys/fuse_device.h"
#include "sys/local_socket.h"

namespace plyfs::control {
namespace {

constexpr std::size_t kMostAnswerBytes = 16U << 20;
constexpr int kAnswerTimeout_ms = 5000;
constexpr int kElsewhereTimeout_ms = 2000;
constexpr int kForEver_ms = -1;

struct Found {
  std::string path;
  int pid = 0;
};

/// Sockets in directories of ours whose names begin with `prefix`, the newest process first.
std::vector<Found> sockets(const std::string& prefix) {
  std::vector<Found> found;
  for (const std::string& directory : socket_directories()) {
    // Whoever made it before us could answer for our mounts, and name layers as he likes.
    if (!sys::check_private_directory(directory)) {
      continue;
    }
    for (const std::string& name : sys::names_in(directory)) {
      const auto pid = pid_of_socket(name);
      if (pid && name.starts_with(prefix)) {
        found.push_back({directory + '/' + name, *pid});
      }
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Found& a, const Found& b) { return a.pid > b.pid; });
  return found;
}

Result<Json> ask_socket(const std::string& path, const std::string& request) {
  auto connection = sys::connect_to(path);
  if (!connection) {
    if (connection.error() == ECONNREFUSED) {
      (void)sys::remove_path(path);  // its daemon died
    }
    return connection.error();
  }
  TRY(sys::write_all(connection->borrow(), request_text(request) + '\n', kAnswerTimeout_ms));
  const std::string line =
      TRY(sys::read_line(connection->borrow(), kMostAnswerBytes, kAnswerTimeout_ms));
  return parse_answer(line);
}

/// How the daemon names its mount point: without links, but not by asking the mount itself, which
/// may be dead.
std::vector<std::string> names_of(std::string mountpoint) {
  std::vector<std::string> names;
  while (mountpoint.size() > 1 && mountpoint.ends_with('/')) {
    mountpoint.pop_back();
  }
  const std::size_t slash = mountpoint.rfind('/');
  const std::string last = mountpoint.substr(slash + 1);
  const std::string above = slash == std::string::npos ? "."
                            : slash == 0               ? "/"
                                                       : mountpoint.substr(0, slash);
  if (last != ".." && last != ".") {
    if (auto directory = sys::absolute_path(above)) {
      names.push_back((*directory == "/" ? "" : *directory) + '/' + last);
    }
  }
  if (auto resolved = sys::absolute_path(mountpoint)) {
    names.push_back(*resolved);
  }
  return names;
}

/// Whether that is what asking says when there is no daemon, or when its mount is gone.
bool tells_end(Errno error) {
  return error == ECONNREFUSED || error == ENOENT || error == ECONNRESET || error == EPIPE;
}

}  // namespace

Result<Json> ask(const std::string& mountpoint, const std::string& request) {
  Errno last{ENOENT};
  for (const std::string& name : names_of(mountpoint)) {
    for (const Found& socket : sockets(socket_prefix(name))) {
      auto answer = ask_socket(socket.path, request);
      if (answer) {
        return answer;
      }
      last = tells_end(answer.error()) ? last : answer.error();
    }
  }
  return last;
}

Result<Json> ask_process(int process, const std::string& request) {
  Errno last{ENOENT};
  for (const Found& socket : sockets({})) {
    if (socket.pid == process) {
      auto answer = ask_socket(socket.path, request);
      if (answer) {
        return answer;
      }
      last = answer.error();
    }
  }
  return last;
}

std::vector<Json> ask_all(const std::string& request) {
  std::vector<Json> answers;
  for (const Found& socket : sockets({})) {
    if (auto answer = ask_socket(socket.path, request)) {
      answers.push_back(*std::move(answer));
    }
  }
  return answers;
}

Daemons::Daemons(const std::string& mountpoint) {
  for (const std::string& name : names_of(mountpoint)) {
    for (const Found& socket : sockets(socket_prefix(name))) {
      const auto connection = sys::connect_to(socket.path);
      auto process = connection ? sys::listening_process(connection->borrow())
                                : Result<sys::UniqueFd>{connection.error()};
      if (process) {
        daemons_.push_back({socket.path, *std::move(process)});
      }
    }
  }
}

void Daemons::wait_for_ends() const {
  for (const Daemon& daemon : daemons_) {
    const auto answer = ask_socket(daemon.socket, "describe");
    if (!answer && tells_end(answer.error())) {
      sys::wait_for_end(daemon.process.borrow(), kForEver_ms);
    } else if (daemons_.size() == 1) {  // else it may be of a mount that lay below
      sys::wait_for_end(daemon.process.borrow(), kElsewhereTimeout_ms);
    }
  }
}

}  // namespace plyfs::control
