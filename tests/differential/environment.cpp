#include "environment.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

namespace plyfs::difftest {
namespace {

constexpr uid_t kFallbackUser = 61234;
constexpr unsigned kFirstSubordinate = 300000;

Environment not_ready(const std::string& what) {
  return {false, what + ": " + std::strerror(errno)};
}

int run_program(const std::vector<std::string>& words) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const int quiet = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(quiet, STDOUT_FILENO);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

Environment private_mounts() {
  if (::unshare(CLONE_NEWNS) != 0) return not_ready("a mount namespace of our own");
  if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return not_ready("private mounts");
  }
  return {true, ""};
}

/// A loop-mounted file system image in `directory`; goes with the mount namespace.
Environment mount_image(const std::string& kind, const std::string& directory) {
  const std::string image = directory + ".image";
  const int descriptor = ::open(image.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0 || ::ftruncate(descriptor, off_t{512} << 20U) != 0) {
    return not_ready("create " + image);
  }
  ::close(descriptor);
  const std::string force = kind == "ext4" ? "-F" : "-f";
  const bool made = run_program({"mkfs." + kind, "-q", force, image}) == 0;
  const bool mounted = made && run_program({"mount", "-o", "loop", image, directory}) == 0;
  ::unlink(image.c_str());
  if (!mounted) return {false, "cannot make or mount " + kind + " on a loop device"};
  ::chmod(directory.c_str(), 0755);
  return {true, ""};
}

Environment make_directory(TestFilesystem& filesystem) {
  const char* configured = std::getenv("TMPDIR");
  filesystem.directory =
      std::string{configured != nullptr ? configured : "/tmp"} + "/plyfs-difftest.XXXXXX";
  if (::mkdtemp(filesystem.directory.data()) == nullptr) return not_ready("mkdtemp");
  ::chmod(filesystem.directory.c_str(), 0755);
  return {true, ""};
}

bool is_image(const TestFilesystem& filesystem) {
  return filesystem.kind != "" && filesystem.kind != "tmpfs" && filesystem.kind != "none";
}

Environment make_filesystem(const TestFilesystem& filesystem) {
  if (!is_image(filesystem)) return {true, ""};
  return mount_image(filesystem.kind, filesystem.directory);
}

/// In the namespaces of the mode.
Environment choose_filesystem(TestFilesystem& filesystem) {
  if (filesystem.kind != "") return {true, ""};
  const char* const directory = filesystem.directory.c_str();
  if (::mount("difftest", directory, "tmpfs", 0, "size=1m,mode=0755") != 0) {
    return not_ready("tmpfs");
  }
  const bool takes_xattrs = ::setxattr(directory, "user.probe", "1", 1, 0) == 0;
  ::umount2(directory, 0);
  filesystem.kind = takes_xattrs ? "tmpfs" : "none";
  return {true, ""};
}

uid_t ordinary_user() {
  const passwd* entry = ::getpwnam("plyfs-test");
  return entry != nullptr ? entry->pw_uid : kFallbackUser;
}

bool write_file(const std::string& path, const std::string& text) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool done =
      ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(descriptor);
  return done;
}

/// The user's own id becomes root inside; a range of others as subordinate ids would give.
bool map_as_root(pid_t child, uid_t user) {
  const std::string directory = "/proc/" + std::to_string(child);
  const std::string map =
      "0 " + std::to_string(user) + " 1\n1 " + std::to_string(kFirstSubordinate) + " 65535\n";
  return write_file(directory + "/gid_map", map) && write_file(directory + "/uid_map", map);
}

/// As the user itself: with its subordinate ids when the machine gives it some.
bool map_as_user(pid_t child) {
  const passwd* entry = ::getpwuid(::getuid());
  const std::string pid = std::to_string(child);
  const std::string name = entry != nullptr ? entry->pw_name : "";
  const auto map = [&](const char* program, const char* file, unsigned id) {
    std::ifstream lines{file};
    for (std::string line; std::getline(lines, line);) {
      if (name.empty() || line.compare(0, name.size() + 1, name + ":") != 0) continue;
      const std::string range = line.substr(name.size() + 1);
      const std::size_t colon = range.find(':');
      return run_program({program, pid, "0", std::to_string(id), "1", "1", range.substr(0, colon),
                          range.substr(colon + 1)}) == 0;
    }
    return false;
  };
  if (map("newgidmap", "/etc/subgid", ::getgid()) && map("newuidmap", "/etc/subuid", ::getuid())) {
    return true;
  }
  const std::string directory = "/proc/" + pid;
  write_file(directory + "/setgroups", "deny");
  return write_file(directory + "/gid_map", "0 " + std::to_string(::getgid()) + " 1\n") &&
         write_file(directory + "/uid_map", "0 " + std::to_string(::getuid()) + " 1\n");
}

[[noreturn]] void wait_and_exit(pid_t child, const TestFilesystem& filesystem) {
  static pid_t waited = child;
  const auto pass_on = [](int signal) { ::kill(waited, signal); };
  std::signal(SIGINT, pass_on);
  std::signal(SIGTERM, pass_on);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  leave_environment(filesystem);
  std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

bool become_user(uid_t user) {
  return ::setgroups(0, nullptr) == 0 && ::setresgid(user, user, user) == 0 &&
         ::setresuid(user, user, user) == 0;
}

/// The child's half: from an ordinary user to root of its own namespace.
Environment enter_user_namespace(int tell, int hear) {
  ::prctl(PR_SET_DUMPABLE, 1);
  char word = 'x';
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return not_ready("a user namespace");
  if (::write(tell, &word, 1) != 1 || ::read(hear, &word, 1) != 1 || word != 'y') {
    return {false, "the ids of the user namespace could not be mapped"};
  }
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) return not_ready("ids");
  ::prctl(PR_SET_DUMPABLE, 1);
  if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return not_ready("private mounts");
  }
  return {true, ""};
}

Environment enter_as_user(TestFilesystem& filesystem) {
  const bool was_root = ::geteuid() == 0;
  const uid_t user = was_root ? ordinary_user() : ::geteuid();
  std::array<int, 2> up{};
  std::array<int, 2> down{};
  if (::pipe2(up.data(), O_CLOEXEC) != 0 || ::pipe2(down.data(), O_CLOEXEC) != 0) {
    return not_ready("pipe2");
  }
  // Made here, where it can be removed again: the child ends as somebody else.
  if (Environment made = make_directory(filesystem); !made.ready) return made;
  const pid_t child = ::fork();
  if (child < 0) return not_ready("fork");
  if (child > 0) {
    char word = 'n';
    ::close(up[1]);
    if (::read(up[0], &word, 1) == 1) {
      word = (was_root ? map_as_root(child, user) : map_as_user(child)) ? 'y' : 'n';
      if (::write(down[1], &word, 1) != 1) std::perror("pipe");
    }
    wait_and_exit(child, filesystem);
  }
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (is_image(filesystem)) {
    if (!was_root) return {false, "a loop device needs root"};
    if (Environment inner = private_mounts(); !inner.ready) return inner;
    if (Environment made = make_filesystem(filesystem); !made.ready) return made;
  }
  if (was_root) {
    if (::chown(filesystem.directory.c_str(), user, user) != 0) return not_ready("chown");
    if (!become_user(user)) return not_ready("becoming an ordinary user");
  }
  if (Environment inner = enter_user_namespace(up[1], down[0]); !inner.ready) return inner;
  return choose_filesystem(filesystem);
}

}  // namespace

Environment enter_environment(Mode mode, TestFilesystem& filesystem) {
  if (mode == Mode::kUser) return enter_as_user(filesystem);
  if (::geteuid() != 0) return {false, "this mode needs root"};
  if (Environment own = private_mounts(); !own.ready) return own;
  if (Environment made = make_directory(filesystem); !made.ready) return made;
  if (Environment made = make_filesystem(filesystem); !made.ready) return made;
  return choose_filesystem(filesystem);
}

void leave_environment(const TestFilesystem& filesystem) {
  if (filesystem.directory.empty()) return;
  if (is_image(filesystem)) ::umount2(filesystem.directory.c_str(), MNT_DETACH);
  ::rmdir(filesystem.directory.c_str());
}

}  // namespace plyfs::difftest
