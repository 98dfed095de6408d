#include "sys/daemon.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace plyfs::sys {
namespace {

// A report is one byte, the exit code, and the message up to the end of the pipe.
Status write_report(BorrowedFd pipe, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(pipe.get(), bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) {
      return Errno{errno};
    }
    bytes.remove_prefix(written > 0 ? static_cast<std::size_t>(written) : 0);
  }
  return {};
}

std::string read_report(BorrowedFd pipe) {
  std::string bytes;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t count = ::read(pipe.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return bytes;
    }
    bytes.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

Daemon::Report await_report(pid_t child, BorrowedFd pipe) {
  Daemon::Report report;
  const std::string bytes = read_report(pipe);
  if (!bytes.empty()) {
    report.exit_code = static_cast<unsigned char>(bytes[0]);
    report.message = bytes.substr(1);
    if (report.exit_code == 0) {
      return report;
    }
  }
  report.lost = bytes.empty();
  // A daemon that failed lets go of the layers before the command returns: the caller may remove
  // or mount them at once.
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return report;
    }
  }
  if (report.lost && WIFSIGNALED(status)) {
    report.signal = WTERMSIG(status);
  }
  return report;
}

// All above 2. They keep their numbers, so that nobody else's can be among them later.
std::vector<int> open_descriptors() {
  std::vector<int> found;
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) {
    return found;
  }
  while (const dirent* const entry = ::readdir(directory)) {
    const int descriptor = std::atoi(entry->d_name);
    if (descriptor > 2 && descriptor != ::dirfd(directory)) {
      found.push_back(descriptor);
    }
  }
  (void)::closedir(directory);
  return found;
}

// Descriptors 0 to 2 are open (fill_standard_descriptors), so `null` is none of them.
Status leave_terminal() {
  const UniqueFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  if (!null.valid()) {
    return Errno{errno};
  }
  for (int standard = 0; standard <= 2; ++standard) {
    if (::dup2(null.borrow().get(), standard) < 0) {
      return Errno{errno};
    }
  }
  return {};
}

}  // namespace

Result<std::variant<Daemon, Daemon::Report>> Daemon::start(InheritedFiles inherited) {
  std::vector<int> to_close;
  if (inherited == InheritedFiles::kClose) {
    to_close = open_descriptors();  // none of them is ours yet
  }
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Errno{errno};
  }
  UniqueFd read_end{ends[0]};
  UniqueFd write_end{ends[1]};
  const pid_t child = ::fork();
  if (child < 0) {
    return Errno{errno};
  }
  if (child > 0) {
    write_end.reset();
    return std::variant<Daemon, Report>{await_report(child, read_end.borrow())};
  }
  read_end.reset();
  (void)::setsid();  // cannot fail: a new child leads no group
  return std::variant<Daemon, Report>{Daemon{std::move(write_end), std::move(to_close)}};
}

Daemon Daemon::in_foreground() { return Daemon{UniqueFd{}, {}}; }

Status Daemon::leave_directory() {
  if (report_.valid() && ::chdir("/") != 0) {
    return Errno{errno};
  }
  return {};
}

Status Daemon::ready() {
  if (!report_.valid()) {
    return {};
  }
  TRY(leave_terminal());
  for (const int descriptor : inherited_) {
    (void)::close(descriptor);
  }
  inherited_.clear();
  const Status sent = write_report(report_.borrow(), std::string_view{"\0", 1});
  report_.reset();
  return sent;
}

bool Daemon::fail(std::string_view message, int exit_code) {
  if (!report_.valid()) {
    return false;
  }
  std::string bytes(1, static_cast<char>(exit_code));
  bytes.append(message);
  // The parent may be gone; then there is nobody left to tell.
  (void)write_report(report_.borrow(), bytes);
  report_.reset();
  return true;
}

Status fill_standard_descriptors() {
  for (;;) {
    UniqueFd lowest{::open("/dev/null", O_RDWR)};
    if (!lowest.valid()) {
      return Errno{errno};
    }
    if (lowest.borrow().get() > 2) {
      return {};
    }
    (void)lowest.release();  // stays open for good
  }
}

}  // namespace plyfs::sys
