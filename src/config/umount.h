// `plyfs umount`.
#pragma once

#include <optional>
#include <string>

#include "plyfs/mount.h"
#include "sys/host_check.h"
#include "sys/unmount.h"

namespace plyfs::config {

/// Unmounts the FUSE mount at `target`: directly where we may, else through fusermount3.
/// Anything that is not a FUSE mount is refused (exit code 32).
std::optional<Failure> umount(const std::string& target, sys::UnmountMode mode,
                              const sys::HostFacts& host);

}  // namespace plyfs::config
