// What the running kernel is too old for. For features of the kernel's overlayfs, the tests'
// oracle, that cannot be asked for but by the thing under test; the others are better tried.
#pragma once

#include <sys/utsname.h>

#include <cstdio>
#include <stdexcept>
#include <utility>

namespace plyfs::tests {

inline bool kernel_is_at_least(int major, int minor) {
  utsname system{};
  std::pair<int, int> has{};
  if (::uname(&system) != 0 || std::sscanf(system.release, "%d.%d", &has.first, &has.second) != 2) {
    throw std::runtime_error("which kernel is this?");
  }
  return has >= std::pair{major, minor};
}

/// An empty file with the mark overlay.whiteout in a directory marked opaque=x (as it is since
/// Linux 6.8).
inline bool overlayfs_reads_xattr_whiteouts() { return kernel_is_at_least(6, 8); }

/// Marks within marks (trusted.overlay.overlay.NAME); before Linux 6.7 users could set none at all.
inline bool overlayfs_escapes_marks() { return kernel_is_at_least(6, 7); }

inline bool overlayfs_has_tmpfile() { return kernel_is_at_least(6, 10); }

/// Before the VFS spoke of ACLs by themselves (Linux 6.2), copying one up in a user namespace could
/// end with EOVERFLOW.
inline bool overlayfs_copies_users_acls() { return kernel_is_at_least(6, 2); }

}  // namespace plyfs::tests
