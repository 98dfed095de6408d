#include "sys/sandbox/program.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "sys/sandbox/process.h"

namespace plyfs::sys::sandbox {
namespace {

constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;

constexpr auto kUsual = std::to_array<unsigned>(
    {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_NET_BIND_SERVICE,
     CAP_SETFCAP, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_CHROOT});

[[noreturn]] void give_up(BorrowedFd report, int code, const std::string& what, int error,
                          const std::string& remedy = "'plyfs check' tells what is missing") {
  const std::string text =
      std::to_string(code) + " " + what + ": " + std::strerror(error) + "; " + remedy;
  (void)!::write(report.get(), text.data(), text.size());
  ::_exit(code);
}

/// A program must not type into the terminal that it shares with others (TIOCSTI, TIOCLINUX).
bool forbid_typing() {
  const scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  bool made = filter != nullptr;
  // Otherwise no_new_privs comes with it, and su(1) fails.
  made = made && ::seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) == 0;
  for (const unsigned long request :
       {static_cast<unsigned long>(TIOCSTI), static_cast<unsigned long>(TIOCLINUX)}) {
    // The kernel looks at 32 bits. (SCMP_A1 is a compound literal, which is C.)
    const scmp_arg_cmp asked{1, SCMP_CMP_MASKED_EQ, 0xffffffffUL, request};
    made = made &&
           ::seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1, &asked) == 0;
  }
  made = made && ::seccomp_load(filter) == 0;
  ::seccomp_release(filter);
  return made;
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> list;
  for (const std::string& word : words) {
    list.push_back(const_cast<char*>(word.c_str()));
  }
  list.push_back(nullptr);
  return list;
}

std::string_view search_path(const std::vector<std::string>& environment) {
  for (const std::string& entry : environment) {
    if (entry.starts_with("PATH=")) {
      return std::string_view{entry}.substr(5);
    }
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/// execve(2) of what the name means; returns its error.
int execute(const Program& program) {
  const std::vector<char*> arguments = pointers(program.arguments);
  const std::vector<char*> environment = pointers(program.environment);
  const std::string& name = program.arguments.front();
  if (name.empty() || name.find('/') != std::string::npos) {
    (void)::execve(name.c_str(), arguments.data(), environment.data());
    return errno;
  }
  int error = ENOENT;
  std::string_view rest = search_path(program.environment);
  while (!rest.empty()) {
    const std::string_view directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(directory.size() + 1, rest.size()));
    const std::string path = std::string{directory.empty() ? "." : directory} + "/" + name;
    (void)::execve(path.c_str(), arguments.data(), environment.data());
    if (errno == EACCES) {
      error = EACCES;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      return errno;
    }
  }
  return error;
}

void set_terminal(const Program& program, BorrowedFd terminal) {
  if (program.terminal == Terminal::kShared) {
    return;
  }
  if (program.terminal == Terminal::kOwn) {
    for (int standard = 0; standard <= 2; ++standard) {
      (void)::dup2(terminal.get(), standard);
    }
  }
  // SIGTTOU is blocked here: who is not in front is stopped otherwise.
  (void)::setpgid(0, 0);
  (void)::tcsetpgrp(0, ::getpid());
}

}  // namespace

Status keep_usual_capabilities() {
  for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    const bool kept = std::ranges::find(kUsual, capability) != kUsual.end();
    if (!kept && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      return Errno{errno};
    }
  }
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (const unsigned capability : kUsual) {
    data[capability / 32].effective |= 1U << (capability % 32);
    data[capability / 32].permitted |= 1U << (capability % 32);
  }
  return ::syscall(SYS_capset, &header, data) == 0 ? Status{} : Status{Errno{errno}};
}

void forget_own_words() {
  // They lie behind each other in one piece, the arguments first; /proc/self/stat says where.
  std::FILE* const stat = std::fopen("/proc/self/stat", "re");
  char line[2048] = {};
  const std::size_t got = stat != nullptr ? std::fread(line, 1, sizeof line - 1, stat) : 0;
  if (stat != nullptr) {
    (void)std::fclose(stat);
  }
  const char* at = got > 0 ? std::strrchr(line, ')') : nullptr;
  for (int field = 2; at != nullptr && field < 48; ++field) {
    at = std::strchr(at + 1, ' ');
  }
  unsigned long argument_begin = 0;
  unsigned long argument_end = 0;
  unsigned long begin = 0;
  unsigned long end = 0;
  if (at != nullptr &&
      std::sscanf(at, " %lu %lu %lu %lu", &argument_begin, &argument_end, &begin, &end) == 4) {
    (void)::clearenv();
    std::memset(reinterpret_cast<void*>(argument_begin), 0, argument_end - argument_begin);
    std::memset(reinterpret_cast<void*>(begin), 0, end - begin);
    constexpr const char* kName = "plyfs";
    if (argument_end - argument_begin > std::strlen(kName)) {
      std::strcpy(reinterpret_cast<char*>(argument_begin), kName);
    }
  }
}

void become(const Program& program, BorrowedFd terminal, BorrowedFd report) {
  set_terminal(program, terminal);
  (void)::syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
  (void)::syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr);
  (void)::umask(022);
  if (program.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    give_up(report, kSetupFailed, "cannot give up privileges", errno);
  }
  if (!forbid_typing()) {
    give_up(report, kSetupFailed, "cannot set a filter of system calls", errno);
  }
  if (const Status kept = keep_usual_capabilities(); !kept) {
    give_up(report, kSetupFailed, "cannot give up capabilities", kept.error().value());
  }
  const Account& account = program.account;
  if (program.set_groups && ::setgroups(account.groups.size(), account.groups.data()) != 0) {
    give_up(report, kSetupFailed, "cannot set the groups", errno);
  }
  if (::setresgid(account.gid, account.gid, account.gid) != 0 ||
      ::setresuid(account.uid, account.uid, account.uid) != 0) {
    give_up(report, kSetupFailed, "cannot become user " + std::to_string(account.uid), errno,
            "there is no such id inside: ranges of subordinate ids bring them");
  }
  if (::chdir(program.directory.c_str()) != 0) {
    give_up(report, kSetupFailed, "cannot enter the directory: " + program.directory, errno,
            "-w names one of the root directory");
  }
  restore_signals();
  const int error = execute(program);
  const bool missing = error == ENOENT || error == ENOTDIR;
  give_up(report, missing ? kNotFound : kCannotRun, "cannot run: " + program.arguments.front(),
          error,
          missing ? "it, or what it is interpreted by, is not in this root directory or its PATH"
                  : "it must be a program for this machine, and executable for its user");
}

}  // namespace plyfs::sys::sandbox
