#include "mounts.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace plyfs::difftest {
namespace {

std::string failure(const std::string& what) { return what + ": " + std::strerror(errno); }

std::string layer_options(const Stack& stack) {
  std::string options = "lowerdir=";
  for (std::size_t i = 0; i < stack.lowers.size(); ++i) {
    options += (i == 0 ? "" : ":") + stack.lowers[i];
  }
  return options + ",upperdir=" + stack.upper + ",workdir=" + stack.work;
}

class KernelDriver : public Driver {
 public:
  explicit KernelDriver(std::string options) : options_(std::move(options)) {}

  std::string mount(const Stack& stack) override {
    const std::string data = layer_options(stack) + "," + options_;
    const int result = ::mount("overlay", stack.mountpoint.c_str(), "overlay", 0, data.c_str());
    return result == 0 ? "" : failure("mount -t overlay -o " + data);
  }

  std::string unmount(const std::string& mountpoint) override {
    return ::umount2(mountpoint.c_str(), 0) == 0 ? "" : failure("umount of overlay");
  }

  [[nodiscard]] StaleReads stale_reads() const override { return StaleReads::kPossible; }

 private:
  std::string options_;
};

/// The major:minor word of a mount in the mount table, or an empty string.
std::string device_word(const std::string& mountpoint) {
  std::ifstream table{"/proc/self/mountinfo"};
  std::string found;
  for (std::string line; std::getline(table, line);) {
    std::istringstream words{line};
    std::string id;
    std::string parent;
    std::string device;
    std::string root;
    std::string at;
    words >> id >> parent >> device >> root >> at;
    if (at == mountpoint) found = device;
  }
  return found;
}

class PlyfsDriver : public Driver {
 public:
  PlyfsDriver(std::string binary, std::string options, std::string log)
      : binary_(std::move(binary)), options_(std::move(options)), log_(std::move(log)) {}

  std::string mount(const Stack& stack) override {
    const std::string options = all_options(stack);
    const int table = ::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    daemon_ = ::fork();
    if (daemon_ < 0) return failure("fork");
    if (daemon_ == 0) run_daemon(options, stack.mountpoint);
    std::string error = wait_for_mount(table, stack.mountpoint);
    ::close(table);
    if (!error.empty()) error += "\n" + read_log();
    return error;
  }

  std::string unmount(const std::string& mountpoint) override {
    if (::umount2(mountpoint.c_str(), 0) != 0) return failure("umount of plyfs") + read_log();
    int status = 0;
    while (::waitpid(daemon_, &status, 0) < 0 && errno == EINTR) {
    }
    daemon_ = -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "";
    return end_words(status) + "\n" + read_log();
  }

  [[nodiscard]] StaleReads stale_reads() const override { return StaleReads::kNever; }

  [[nodiscard]] std::string program() const override { return binary_; }

  [[nodiscard]] std::vector<std::string> command(const std::string& name,
                                                 const Stack& stack) const override {
    if (name == "dump") return {binary_ + "-dump", "-o", all_options(stack)};
    return {binary_, name, "-o", all_options(stack)};
  }

 private:
  [[nodiscard]] std::string all_options(const Stack& stack) const {
    return layer_options(stack) + (options_.empty() ? "" : "," + options_);
  }

  [[noreturn]] void run_daemon(const std::string& options, const std::string& mountpoint) const {
    const int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    ::dup2(log, STDOUT_FILENO);
    ::dup2(log, STDERR_FILENO);
    ::umask(022);
    ::execl(binary_.c_str(), "plyfs", "mount", "-f", "-o", options.c_str(), mountpoint.c_str(),
            static_cast<char*>(nullptr));
    std::perror(binary_.c_str());
    ::_exit(127);
  }

  /// Waits for a change of the mount table or the daemon's end; the kernel wakes us for both.
  std::string wait_for_mount(int table, const std::string& mountpoint) {
    const int daemon = static_cast<int>(::syscall(SYS_pidfd_open, daemon_, 0));
    if (daemon < 0) return failure("pidfd_open");
    std::string error;
    while (device_word(mountpoint).empty()) {
      std::array<pollfd, 2> events = {pollfd{table, POLLPRI, 0}, pollfd{daemon, POLLIN, 0}};
      if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) {
        error = failure("poll");
        break;
      }
      if ((events[1].revents & POLLIN) == 0) continue;
      int status = 0;
      ::waitpid(daemon_, &status, 0);
      daemon_ = -1;
      error = end_words(status) + " before it had mounted";
      break;
    }
    ::close(daemon);
    return error;
  }

  static std::string end_words(int status) {
    if (WIFEXITED(status)) return "plyfs exited with " + std::to_string(WEXITSTATUS(status));
    return "plyfs was ended by signal " + std::to_string(WTERMSIG(status));
  }

  [[nodiscard]] std::string read_log() const {
    std::ifstream file{log_};
    std::ostringstream text;
    text << file.rdbuf();
    constexpr std::size_t kMost = 6000;
    const std::string all = text.str();
    return all.size() > kMost ? all.substr(0, kMost) + "..." : all;
  }

  std::string binary_;
  std::string options_;
  std::string log_;
  pid_t daemon_ = -1;
};

}  // namespace

std::unique_ptr<Driver> kernel_driver(std::string options) {
  return std::make_unique<KernelDriver>(std::move(options));
}

std::unique_ptr<Driver> plyfs_driver(std::string binary, std::string options, std::string log) {
  return std::make_unique<PlyfsDriver>(std::move(binary), std::move(options), std::move(log));
}

unsigned connection_of(const std::string& mountpoint) {
  const std::string device = device_word(mountpoint);
  const std::size_t colon = device.find(':');
  return colon == std::string::npos
             ? 0
             : static_cast<unsigned>(std::strtoul(device.c_str() + colon + 1, nullptr, 10));
}

}  // namespace plyfs::difftest
