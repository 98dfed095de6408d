#include "control/server.h"

#include <exception>
#include <utility>

#include "base/log.h"
#include "control/directories.h"
#include "sys/fuse_device.h"
#include "sys/local_socket.h"
#include "sys/process_facts.h"

namespace plyfs::control {
namespace {

constexpr std::size_t kMostRequestBytes = 4096;
constexpr int kClientTimeout_ms = 2000;

/// Sockets that killed daemons left. A number that is in use, or that belongs to another pid
/// namespace and still answers, is left alone.
void remove_stale(const std::string& directory) {
  for (const std::string& name : sys::names_in(directory)) {
    const auto pid = pid_of_socket(name);
    if (!pid || sys::process_exists(*pid)) {
      continue;
    }
    const std::string path = directory + '/' + name;
    const auto connection = sys::connect_to(path);
    if (!connection && connection.error() == ECONNREFUSED) {
      (void)sys::remove_path(path);
    }
  }
}

}  // namespace

Server::Server(std::string path, sys::UniqueFd listener, sys::UniqueFd stop, Handlers handlers,
               std::function<bool()> mounted)
    : path_(std::move(path)),
      listener_(std::move(listener)),
      stop_(std::move(stop)),
      handlers_(std::move(handlers)),
      mounted_(std::move(mounted)) {
  const sys::BlockSignals blocked;
  thread_ = std::thread{[this] { serve(); }};
}

Server::~Server() {
  sys::signal_event(stop_.borrow());
  thread_.join();
  (void)sys::remove_path(path_);
}

Result<std::unique_ptr<Server>> Server::start(const std::string& mountpoint, Handlers handlers,
                                              std::function<bool()> mounted) {
  sys::UniqueFd stop = TRY(sys::make_event());
  Errno last{ENOENT};
  for (const std::string& directory : socket_directories()) {
    const Status made = sys::make_private_directory(directory);
    if (!made) {
      last = made.error();
      continue;
    }
    remove_stale(directory);
    const std::string path =
        directory + '/' + socket_name(mountpoint, static_cast<int>(sys::process_id()));
    auto listener = sys::listen_at(path);
    if (!listener && listener.error() == EADDRINUSE) {
      // Of a dead process that had our number.
      (void)sys::remove_path(path);
      listener = sys::listen_at(path);
    }
    if (listener) {
      return std::unique_ptr<Server>{new Server{path, *std::move(listener), std::move(stop),
                                                std::move(handlers), std::move(mounted)}};
    }
    last = listener.error();
  }
  return last;
}

void Server::serve() {
  for (;;) {
    auto peer = sys::accept_peer(listener_.borrow(), stop_.borrow());
    if (!peer) {
      if (peer.error() == ECONNABORTED || peer.error() == EINTR) {
        continue;
      }
      if (!(peer.error() == ECANCELED)) {
        log::write(log::Level::kError, "control channel closed: " + peer.error().message());
      }
      return;
    }
    if (!mounted_()) {
      continue;
    }
    try {
      if (peer->uid == sys::effective_uid() || peer->uid == 0) {
        answer(peer->connection.borrow());
      } else {
        (void)sys::write_all(peer->connection.borrow(),
                             refusal("not your mount: Operation not permitted") + '\n',
                             kClientTimeout_ms);
      }
    } catch (const std::exception& error) {
      log::write(log::Level::kError, std::string{"control channel: "} + error.what());
    }
  }
}

void Server::answer(sys::BorrowedFd connection) {
  const auto line = sys::read_line(connection, kMostRequestBytes, kClientTimeout_ms);
  if (line) {
    (void)sys::write_all(connection, reply_to(handlers_, *line) + '\n', kClientTimeout_ms);
  }
}

}  // namespace plyfs::control
