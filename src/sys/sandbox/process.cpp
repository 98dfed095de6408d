#include "sys/sandbox/process.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <string>

namespace plyfs::sys::sandbox {
namespace {

constexpr auto kIgnored = std::to_array<int>(
    {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU});

// Children inherit it, as they do the signals themselves.
sigset_t changed_signals;
pid_t group_before = 0;

}  // namespace

Result<pid_t> fork_process() {
  const pid_t child = ::fork();
  if (child < 0) {
    return Errno{errno};
  }
  return child;
}

Result<pid_t> fork_into_namespaces(bool own_network) {
  const unsigned long flags = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |
                              (own_network ? CLONE_NEWNET : 0UL) | SIGCHLD;
  // As fork(2): no stack of its own. unshare(2) would keep us from making threads afterwards.
  const long child = ::syscall(SYS_clone, flags, nullptr, nullptr, nullptr, nullptr);
  if (child < 0) {
    return Errno{errno};
  }
  return static_cast<pid_t>(child);
}

bool end_with_parent(pid_t parent) {
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // In a pid namespace of our own the parent has no number, dead or alive.
  const pid_t now = ::getppid();
  return now == 0 || now == parent;
}

void ignore_signals() {
  for (const int signal : kIgnored) {
    const auto before = ::signal(signal, SIG_IGN);
    if (before != SIG_IGN) {
      ::sigaddset(&changed_signals, signal);
    }
  }
}

void restore_signals() {
  for (const int signal : kIgnored) {
    if (::sigismember(&changed_signals, signal) == 1) {
      (void)::signal(signal, SIG_DFL);
    }
  }
  (void)::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void leave_group() {
  group_before = ::getpgrp();
  (void)::setpgid(0, 0);
}

Status return_to_group() {
  if (::setpgid(0, group_before) != 0) {
    return Errno{errno};
  }
  return {};
}

void leave_session() { (void)::setsid(); }

void drop_standard_descriptors() {
  const UniqueFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  for (int standard = 0; standard <= 2 && null.valid(); ++standard) {
    (void)::dup2(null.borrow().get(), standard);
  }
}

int wait_for_child(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return -1;
    }
  }
  return status;
}

void end_process(int exit_code) { ::_exit(exit_code); }

pid_t parent_id() { return ::getppid(); }

Errno replace_with(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const std::string& word : command) {
    words.push_back(const_cast<char*>(word.c_str()));
  }
  words.push_back(nullptr);
  restore_signals();
  (void)::execvp(words.front(), words.data());
  return Errno{errno};
}

Result<UniqueFd> open_process(pid_t pid) {
  UniqueFd process{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  if (!process.valid()) {
    return Errno{errno};
  }
  return process;
}

Result<std::uint64_t> pid_namespace_of(pid_t pid) {
  struct stat found {};
  if (::stat(("/proc/" + std::to_string(pid) + "/ns/pid").c_str(), &found) != 0) {
    return Errno{errno};
  }
  return static_cast<std::uint64_t>(found.st_ino);
}

Step join_namespaces(BorrowedFd process) {
  constexpr int kAll = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                       CLONE_NEWCGROUP | CLONE_NEWNET;
  constexpr int kWithoutNetwork = kAll & ~CLONE_NEWNET;
  // The host's network belongs to nobody in there.
  if (::setns(process.get(), kAll) != 0 && ::setns(process.get(), kWithoutNetwork) != 0) {
    return Trouble{"cannot enter the run", "setns", Errno{errno}};
  }
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0 ||
      (!has_one_id() && ::setgroups(0, nullptr) != 0)) {
    return Trouble{"cannot become root of the namespace", "setresuid", Errno{errno}};
  }
  return std::nullopt;
}

bool has_one_id() {
  std::ifstream text{"/proc/self/setgroups"};
  std::string word;
  text >> word;
  return word == "deny";
}

}  // namespace plyfs::sys::sandbox
