// Brings the process into the namespaces of a mode: a private mount namespace as root, or a user
// namespace of an ordinary user.
#pragma once

#include <string>

#include "modes.h"

namespace plyfs::difftest {

/// The file systems that a run can be made on.
struct TestFilesystem {
  /// tmpfs, ext4, xfs, btrfs; none: what $TMPDIR lies on. When empty it becomes tmpfs, or none
  /// where tmpfs has no user.* xattrs (before Linux 6.6).
  std::string kind;
  std::string directory;  ///< where it is, or where each worker mounts its own tmpfs
};

struct Environment {
  bool ready = false;
  std::string reason;  ///< why not; the run is then skipped
};

/// Enters the namespaces for `mode` and makes the file system. For Mode::kUser the caller goes on
/// in a child process: the original one waits for it and exits with its code, never returning.
Environment enter_environment(Mode mode, TestFilesystem& filesystem);

/// Undoes what enter_environment made outside the namespaces.
void leave_environment(const TestFilesystem& filesystem);

}  // namespace plyfs::difftest
