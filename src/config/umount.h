// `plyfs umount`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/bound_volumes.h"
#include "plyfs/mount.h"
#include "sys/host_check.h"
#include "sys/unmount.h"

namespace plyfs::config {

struct UmountRequest {
  std::string target;  ///< a path, as the user wrote it
  sys::UnmountMode mode = sys::UnmountMode::kNow;
  /// What its daemon, asked by its control socket, says of the volumes that it has bound.
  std::vector<BoundPlace> bound;
};

/// Unmounts the FUSE mount at `target`: directly where we may, else through fusermount3.
/// Anything that is not a FUSE mount is refused (exit code 32).
std::optional<Failure> umount(const UmountRequest& request, const sys::HostFacts& host);

/// Before a mount on `mountpoint`: takes off what is a dead mount of our own there. Returns what
/// the user should know of it, or of a live plyfs mount that will be covered; empty for nothing.
std::string clear_mountpoint(const std::string& mountpoint, const sys::HostFacts& host);

/// Whether a mount of our own user has lost its daemon. Asks it: only for mounts of our own.
bool is_dead(const sys::MountEntry& mount);
/// Whether it is a mount of this user's, by what the kernel says of who mounted it.
bool is_own_mount(const sys::MountEntry& mount);

}  // namespace plyfs::config
