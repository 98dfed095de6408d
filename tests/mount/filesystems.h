// Filesystems of several kinds to put layers on. Root only.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace plyfs::tests {

/// Mounted while it lives. Kinds: tmpfs; tmpfs-small (of 1100 KiB); failing (see
/// support/failing_fs.cpp; its rules are failing_rules()); ext4, xfs, btrfs (in a loop
/// device); btrfs-subvolume (the one of a btrfs that whole_btrfs() shows); overlay (the kernel's);
/// plyfs, bindfs, fuse-overlayfs.
class MountedFilesystem {
 public:
  /// Why `kind` cannot be had on this machine; empty when it can.
  static std::string missing(const std::string& kind);
  /// tmpfs, or where that has no user.* xattrs ext4.
  static std::string quick_kind();

  /// Mounts over `directory`. What it needs goes to `scratch`, which must not exist and is removed
  /// by its owner. Throws when that fails.
  MountedFilesystem(const std::string& kind, const std::string& directory,
                    const std::string& scratch);
  ~MountedFilesystem();
  MountedFilesystem(const MountedFilesystem&) = delete;
  MountedFilesystem& operator=(const MountedFilesystem&) = delete;

 private:
  std::vector<std::string> mounts_;  // in order
  std::vector<pid_t> daemons_;
};

/// Where the btrfs is mounted whose subvolume a kind btrfs-subvolume with this `scratch` shows.
std::string whole_btrfs(const std::string& scratch);
/// The file of rules of a kind failing with this `scratch`.
std::string failing_rules(const std::string& scratch);
/// The program; it lies beside the test program.
std::string failing_fs();

}  // namespace plyfs::tests
