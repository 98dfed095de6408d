#include "child.h"

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include "catch.h"

namespace plyfs::test {
namespace {

constexpr int kNeedNotMet = 77;
constexpr unsigned kNobody = 65534;

[[noreturn]] void run_child(int pipe, const std::function<bool()>& prepare,
                            const std::function<std::string()>& body) {
  if (!prepare()) {
    ::_exit(kNeedNotMet);
  }
  const std::string text = body();
  const ssize_t written = ::write(pipe, text.data(), text.size());
  ::_exit(written == static_cast<ssize_t>(text.size()) ? 0 : 1);
}

bool write_file(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return file.flush().good();
}

}  // namespace

std::optional<std::string> in_child(const std::function<bool()>& prepare,
                                    const std::function<std::string()>& body) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    throw std::runtime_error("pipe");
  }
  const pid_t child = ::fork();
  if (child == 0) {
    run_child(ends[1], prepare, body);
  }
  (void)::close(ends[1]);
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t count = 0; (count = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  (void)::close(ends[0]);
  int status = 0;
  (void)::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNeedNotMet) {
    return std::nullopt;
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error("the child process failed");
  }
  return text;
}

bool become_ordinary_user() {
  if (::geteuid() != 0) {
    return true;
  }
  return ::setgroups(0, nullptr) == 0 && ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0;
}

bool enter_own_mounts() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (uid != 0) {
    if (::unshare(CLONE_NEWUSER) != 0 || !write_file("/proc/self/setgroups", "deny") ||
        !write_file("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1") ||
        !write_file("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1")) {
      return false;
    }
  }
  return ::unshare(CLONE_NEWNS) == 0 &&
         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

void skip(const std::string& reason) {
  (void)std::fprintf(stderr, "SKIPPED: %s\n", reason.c_str());
  WARN("SKIPPED: " << reason);
}

}  // namespace plyfs::test
