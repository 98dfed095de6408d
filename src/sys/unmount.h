// Unmounting a FUSE mount: as root by umount2(2), otherwise by fusermount3.
#pragma once

#include <optional>
#include <string>

#include "plyfs/result.h"

namespace plyfs::sys {

/// The mount that is on top at a path.
struct MountedHere {
  std::string path;  ///< as the kernel names it
  std::string type;  ///< "fuse.plyfs"
};

/// nullopt where nothing is mounted at `path` itself. Works on dead FUSE mounts too.
Result<std::optional<MountedHere>> find_mount(const std::string& path);

enum class UnmountMode : unsigned char { kNow, kLazy };

/// umount2(2), links not followed.
Status unmount_directly(const std::string& path, UnmountMode mode);

/// What a helper program said.
struct HelperResult {
  int exit_code = 0;  ///< 128 + N when killed by signal N
  std::string error_text;
};

/// Runs `fusermount -u [-z] -- path`. Errors: of starting the program.
Result<HelperResult> unmount_by_helper(const std::string& fusermount, const std::string& path,
                                       UnmountMode mode);

}  // namespace plyfs::sys
