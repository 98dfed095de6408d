#pragma once

// Children: programs, and functions that run in a child as somebody else. Failures are thrown as
// std::exception; what() names what failed.

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace plyfs::bench {

using Words = std::vector<std::string>;

/// Who does something: with root's rights only if uid is 0.
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  gid_t other_group = 0;  ///< a second group of theirs, for chgrp; == gid if there is none
};

/// A user namespace with a mount namespace, held open by a process; 0: ours.
struct Namespace {
  pid_t holder = 0;
};

enum class Rights { kKeep, kDrop };  ///< of a user namespace's root

/// Throws std::system_error with errno when the result of a system call is negative.
long checked(long result, const std::string& what);

/// In a child: becomes `who` (nothing if we are that already) in that namespace.
void become(const Identity& who, Namespace where, Rights rights);

/// Runs `body` in a child as `who`; throws what the child's exception said.
void run_as(const Identity& who, Namespace where, Rights rights, const std::function<void()>& body);

struct Redirect {
  std::string input;           ///< a file, or /dev/null
  std::string directory;       ///< where the program starts; ours if empty
  bool expect_success = true;  ///< throw unless it ends with 0
};

/// Runs a program found on PATH and waits for it; its stderr is in the exception if it fails.
/// Returns its exit status.
int run(const Words& words, const Redirect& redirect = {});

/// Starts a program with stdin and stdout on /dev/null and returns at once.
pid_t start(const Words& words, const std::string& directory);

/// Waits for a child at most `seconds`, then kills it.
void wait_or_kill(pid_t child, double seconds);

/// Children of this process, by /proc.
std::vector<pid_t> children();

/// The ids that the owner of a user namespace has inside it.
enum class ShownAs { kSelf, kRoot };

/// A child of ours that keeps a new user and mount namespace of `who` open until it is killed.
Namespace new_namespace(const Identity& who, ShownAs shown);

/// User and system time of a process, in seconds; 0 if it is gone.
double processor_seconds(pid_t process);

/// A field of /proc/PID/status in bytes ("VmRSS", "VmHWM"); 0 if it is gone.
double status_bytes(pid_t process, const std::string& field);

bool is_installed(const std::string& program);

double now_seconds();

}  // namespace plyfs::bench
