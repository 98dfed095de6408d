// Going to the background, but only once there is something to find there.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Descriptors above 2 that the caller left open for us: a lock file, the pipe of a shell.
enum class InheritedFiles : unsigned char {
  kClose,  ///< by ready(), so that nobody waits for a lock or a pipe that we do not need
  kKeep,   ///< one of them is /dev/fuse, mounted by the caller
};

/// The process that serves the mount. Made before any thread exists. Guarded by caller: one of
/// ready() and fail() is called, once, from any thread.
class Daemon {
 public:
  /// What the waiting process learned: exit with `exit_code` after printing `message`, if any.
  struct Report {
    int exit_code = 0;
    std::string message;
    int signal = 0;     ///< the daemon died by this signal before it reported
    bool lost = false;  ///< the daemon ended without a report; exit_code and message are not set
  };

  /// Forks. The child gets a Daemon in a session of its own and goes on at once; the parent waits
  /// and gets the child's Report. Errors: of pipe(2) and fork(2).
  static Result<std::variant<Daemon, Report>> start(InheritedFiles inherited);

  /// No fork: ready() does nothing, fail() is for the caller to print.
  static Daemon in_foreground();

  /// Leaves the current directory, so that it is not kept busy. Call it when no relative path is
  /// needed any more, from the main thread and before others exist: serving threads have a current
  /// directory of their own. Does nothing in the foreground.
  Status leave_directory();

  /// The mount is usable: puts /dev/null over 0, 1 and 2 (callers wait for the end of our stderr)
  /// and lets the parent exit with 0. SIGPIPE must be ignored. EPIPE: the parent is gone.
  Status ready();

  /// Makes the parent print `message` and exit with `exit_code`. False in the foreground.
  bool fail(std::string_view message, int exit_code);

 private:
  Daemon(UniqueFd report, std::vector<int> inherited)
      : report_(std::move(report)), inherited_(std::move(inherited)) {}
  UniqueFd report_;             ///< write end; invalid in the foreground and after the report
  std::vector<int> inherited_;  ///< closed when ready
};

/// Opens /dev/null for those of 0, 1 and 2 that the caller closed: no other file may get these
/// numbers. Call first of all.
Status fill_standard_descriptors();

}  // namespace plyfs::sys
