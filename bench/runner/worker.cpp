#include "worker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <sstream>
#include <stdexcept>

namespace plyfs::bench {

volatile bool interrupted = false;

namespace {

constexpr std::size_t kMessageBytes = 4096;

void send_text(int channel, const std::string& text) {
  (void)!::send(channel, text.data(), std::min(text.size(), kMessageBytes), MSG_NOSIGNAL);
}

std::string number(double value) {
  std::ostringstream text;
  text.precision(17);
  text << value;
  return text.str();
}

std::string drop_all_caches(const std::string& root) {
  sync_filesystem(root);
  const int fd = ::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  const bool good = fd >= 0 && ::write(fd, "3", 1) == 1;
  ::close(fd);
  return good ? "ok" : "needs root to drop caches";
}

// Answers one message of the worker; true at the last.
bool serve(int channel, const std::string& text, const Mount& mount, Outcome& outcome) {
  std::istringstream words(text);
  std::string verb;
  words >> verb;
  if (verb == "value") {
    std::string row;
    double value = 0;
    words >> row >> value;
    outcome.values[row] = value;
  } else if (verb == "drop") {
    send_text(channel, drop_all_caches(mount.root()));
  } else if (verb == "resident") {
    send_text(channel, number(status_bytes(mount.daemon(), "VmRSS")));
  } else if (verb == "peak") {
    send_text(channel, number(status_bytes(mount.daemon(), "VmHWM")));
  } else if (verb == "processor") {
    send_text(channel, number(processor_seconds(mount.daemon())));
  } else if (verb == "failed") {
    throw std::runtime_error(text.substr(7));
  }
  return verb == "done";
}

class Child {
 public:
  Child(pid_t pid, int channel) : pid_(pid), channel_(channel) {}
  ~Child() {
    ::close(channel_);
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
    // A worker in an uninterruptible call is not waited for by more than this.
    wait_or_kill(pid_, 1);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

 private:
  pid_t pid_;
  int channel_;
};

[[noreturn]] void be_worker(const Mount& mount, const Worker& worker, const Identity& user,
                            int channel, const Body& body) {
  std::string last = "done";
  try {
    ::setpgid(0, 0);
    become(user, mount.where(), Rights::kDrop);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    checked(::chdir(mount.root().c_str()), mount.root());
    body(worker);
  } catch (const std::exception& failure) {
    last = std::string("failed ") + failure.what();
  }
  send_text(channel, last);
  ::_exit(0);
}

}  // namespace

void Worker::measure(const std::string& row, double operations,
                     const std::function<void()>& work) const {
  const double began = now_seconds();
  work();
  record(row, (now_seconds() - began) / operations);
}

void Worker::record(const std::string& row, double value) const {
  send_text(channel_, "value " + row + " " + number(value));
}

std::string Worker::ask(const std::string& question) const {
  send_text(channel_, question);
  std::array<char, kMessageBytes> answer{};
  const auto got = checked(::recv(channel_, answer.data(), answer.size(), 0), "recv");
  return {answer.data(), static_cast<std::size_t>(got)};
}

void Worker::drop_caches() const {
  if (const std::string answer = ask("drop"); answer != "ok") {
    throw std::runtime_error(answer);
  }
}

double Worker::daemon_resident() const { return std::stod(ask("resident")); }
double Worker::daemon_peak() const { return std::stod(ask("peak")); }
double Worker::daemon_processor_seconds() const { return std::stod(ask("processor")); }

Outcome run_worker(const Mount& mount, const Fixture& fixture, const Storage& storage,
                   const Identity& user, const Body& body, double limit_s) {
  std::array<int, 2> ends{};
  checked(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
  const double processor_before = processor_seconds(mount.daemon());
  const pid_t pid = static_cast<pid_t>(checked(::fork(), "fork"));
  if (pid == 0) {
    ::close(ends[0]);
    const Worker worker(mount.root(), storage.scratch(), fixture, user, ends[1]);
    be_worker(mount, worker, user, ends[1], body);
  }
  ::close(ends[1]);
  const Child child(pid, ends[0]);
  Outcome outcome;
  const double end = now_seconds() + limit_s;
  for (;;) {
    pollfd ready = {.fd = ends[0], .events = POLLIN, .revents = 0};
    const int count = ::poll(&ready, 1, 500);
    if (interrupted) {
      throw std::runtime_error("interrupted");
    }
    if (now_seconds() > end) {
      mount.kill_daemon();
      throw std::runtime_error("killed after " + std::to_string(static_cast<int>(limit_s)) + " s");
    }
    if (count <= 0) {
      continue;
    }
    std::array<char, kMessageBytes> text{};
    const auto got = ::recv(ends[0], text.data(), text.size(), 0);
    if (got <= 0) {
      throw std::runtime_error("the worker died");
    }
    if (serve(ends[0], {text.data(), static_cast<std::size_t>(got)}, mount, outcome)) {
      outcome.daemon_seconds = processor_seconds(mount.daemon()) - processor_before;
      return outcome;
    }
  }
}

}  // namespace plyfs::bench
