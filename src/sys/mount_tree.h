// Bind mounts, by the calls that name a mount by descriptor (Linux 5.12).
#pragma once

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

enum class TreeAccess : unsigned char { kAsSource, kReadOnly };

/// A copy of the mount at `object` (a directory or a file) and of what is mounted inside it. It is
/// attached nowhere yet, private (nothing propagates between it and the host's), and read-only if
/// wanted or if the original is.
/// It goes away with its descriptor unless it was attached.
/// Errors: EPERM without CAP_SYS_ADMIN over this mount namespace; ENOSYS on older kernels.
Result<UniqueFd> clone_tree(BorrowedFd object, TreeAccess access);

/// Puts a tree of clone_tree() over `target`: a directory over a directory, a file over a file.
Status attach_tree(BorrowedFd tree, BorrowedFd target);

}  // namespace plyfs::sys
