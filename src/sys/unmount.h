// Unmounting a FUSE mount: as root by umount2(2), otherwise by fusermount3.
#pragma once

#include <string>

#include "plyfs/result.h"
#include "sys/mount_table.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

enum class UnmountMode : unsigned char { kNow, kLazy };

/// umount2(2) of exactly that mount: ESTALE where its path leads to another one by now (somebody
/// may rename what lies above it).
Status unmount_directly(const MountEntry& mount, UnmountMode mode);
/// The same, of what is mounted at `name` in `parent`.
Status unmount_at(BorrowedFd parent, const char* name, int mount_id, UnmountMode mode);

/// What a helper program said.
struct HelperResult {
  int exit_code = 0;  ///< 128 + N when killed by signal N
  std::string error_text;
};

/// Runs `fusermount -u [-z] -- path`. Errors: of starting the program.
Result<HelperResult> unmount_by_helper(const std::string& fusermount, const std::string& path,
                                       UnmountMode mode);

}  // namespace plyfs::sys
