// The last steps before a program is somebody else's: who it is, what it may do, what it has open.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sys/sandbox/step.h"
#include "sys/unique_fd.h"

namespace plyfs::sys::sandbox {

/// Exit code of a run that did not come to its program, as of docker run.
inline constexpr int kSetupFailed = 125;

struct Account {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  ///< supplementary
};

/// Where the program's terminal is.
enum class Terminal : unsigned char {
  kShared,      ///< it has its caller's descriptors, and its process group
  kForeground,  ///< it has its caller's terminal, as the group in front
  kOwn,         ///< a new one
};

struct Program {
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::string directory = "/";
  Account account;
  bool set_groups = true;  ///< false: the namespace does not allow it
  bool no_new_privileges = false;
  Terminal terminal = Terminal::kShared;
};

/// What a run gives its programs: podman's set for containers without privileges.
/// Takes all other capabilities from the calling process for good. Call before the account changes.
Status keep_usual_capabilities();

/// What of a process is gone with it: overwrites its own arguments and environment, which /proc
/// would show to those who share its ids.
void forget_own_words();

/// In a child that has nothing else to do. Writes what went wrong to `report` as "CODE TEXT".
/// `terminal`: of Terminal::kOwn, else invalid.
[[noreturn]] void become(const Program& program, BorrowedFd terminal, BorrowedFd report);

}  // namespace plyfs::sys::sandbox
