#include "kill_step.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <vector>

#include "catch.h"

namespace plyfs::tests {
namespace {

constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                          PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;

bool changes_something(const __ptrace_syscall_info& info) {
  static const std::set<std::uint64_t> kChanges = {
      SYS_write,     SYS_pwrite64,  SYS_writev,          SYS_pwritev,  SYS_pwritev2,  SYS_renameat2,
      SYS_renameat,  SYS_mkdirat,   SYS_unlinkat,        SYS_linkat,   SYS_symlinkat, SYS_mknodat,
      SYS_fchmod,    SYS_fchmodat,  SYS_fchown,          SYS_fchownat, SYS_utimensat, SYS_setxattr,
      SYS_lsetxattr, SYS_fsetxattr, SYS_ftruncate,       SYS_truncate, SYS_fallocate, SYS_fsync,
      SYS_fdatasync, SYS_syncfs,    SYS_copy_file_range,
#ifdef SYS_rename
      SYS_rename,    SYS_mkdir,     SYS_unlink,          SYS_rmdir,    SYS_link,      SYS_symlink,
      SYS_mknod,     SYS_chmod,     SYS_chown,           SYS_lchown,
#endif
  };
  if (info.entry.nr == SYS_openat) {
    return (info.entry.args[2] & O_CREAT) != 0;
  }
  return kChanges.contains(info.entry.nr);
}

/// In a process of its own: waiting for any child must not take the test's.
class Tracer {
 public:
  explicit Tracer(unsigned step) : step_(step) {}

  std::string follow(pid_t first) {
    int status = 0;
    if (::waitpid(first, &status, 0) != first || !WIFSTOPPED(status) ||
        ::ptrace(PTRACE_SETOPTIONS, first, nullptr, kOptions) != 0) {
      return "no ptrace";
    }
    alive_.insert(first);
    resume(first, 0);
    for (;;) {
      const pid_t pid = ::waitpid(-1, &status, __WALL);
      if (pid < 0) {
        return "no ptrace";
      }
      if (WIFEXITED(status) || WIFSIGNALED(status)) {
        alive_.erase(pid);
        if (pid == first) {
          kill_all();
          return "ended " +
                 std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        }
        continue;
      }
      alive_.insert(pid);
      if (is_last(pid, status)) {
        kill_all();
        return "killed";
      }
      resume(pid, signal_of(status));
    }
  }

 private:
  static void resume(pid_t pid, int signal) {
    (void)::ptrace(PTRACE_SYSCALL, pid, nullptr, static_cast<long>(signal));
  }

  /// What the process was stopped by, if it is for itself. SIGSTOP is how new ones begin.
  static int signal_of(int status) {
    const int signal = WSTOPSIG(status);
    const bool event = status >> 16 != 0;
    return event || signal == (SIGTRAP | 0x80) || signal == SIGTRAP || signal == SIGSTOP ? 0
                                                                                         : signal;
  }

  bool is_last(pid_t pid, int status) {
    __ptrace_syscall_info info = {};
    if (WSTOPSIG(status) != (SIGTRAP | 0x80) ||
        ::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY) {
      return false;
    }
    return changes_something(info) && ++changes_ == step_;
  }

  void kill_all() {
    for (const pid_t pid : alive_) {
      (void)::kill(pid, SIGKILL);
    }
    int status = 0;
    while (::waitpid(-1, &status, __WALL) > 0 || errno == EINTR) {
    }
  }

  const unsigned step_;
  unsigned changes_ = 0;
  std::set<pid_t> alive_;
};

[[noreturn]] void be_traced(const Arguments& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& argument : command) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  if (const char* const options = std::getenv("ASAN_OPTIONS"); options != nullptr) {
    // LeakSanitizer traces the program itself, which allows one tracer only.
    (void)::setenv("ASAN_OPTIONS", (std::string{options} + ":detect_leaks=0").c_str(), 1);
  }
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int standard : {0, 1}) {
    ::dup2(nothing, standard);
  }
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0) {
    (void)::raise(SIGSTOP);
    ::execvp(argv[0], argv.data());
  }
  ::_exit(127);
}

}  // namespace

std::optional<int> run_until_change(const Arguments& command, unsigned step) {
  const std::string result = in_child([&]() -> std::string {
    const pid_t first = ::fork();
    if (first == 0) {
      be_traced(command);
    }
    return Tracer{step}.follow(first);
  });
  if (result == "killed") {
    return std::nullopt;
  }
  if (!result.starts_with("ended ")) {
    throw std::runtime_error("cannot trace: " + result);
  }
  return std::stoi(result.substr(6));
}

unsigned kill_at_every_change(const Arguments& command,
                              const std::function<void(unsigned)>& check) {
  for (unsigned step = 1;; ++step) {
    const std::optional<int> ended = run_until_change(command, step);
    if (ended) {
      CHECK(*ended == 0);
      return step - 1;
    }
    check(step);
  }
}

}  // namespace plyfs::tests
