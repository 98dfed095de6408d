// The root directory of a run by the kernel's overlayfs.
#pragma once

#include <optional>
#include <string>

#include "plyfs/mount.h"
#include "plyfs/options.h"

namespace plyfs::run {

/// What plyfs mounts below it: all lower layers as one, with a place for each volume.
MountOptions lower_of(const MountOptions& mount, const std::string& mountpoint);

/// While that is served: lays the upper over it at `root`, and the volumes over that.
std::optional<Failure> mount_kernel_root(const MountOptions& mount, const std::string& lower,
                                         const std::string& root);

}  // namespace plyfs::run
