// Checks a MountOptions against the machine before anything is opened for the mount.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/mount.h"
#include "plyfs/options.h"
#include "sys/host_check.h"
#include "sys/path_check.h"

namespace plyfs::config {

/// The first thing that is wrong, and what is only remarkable.
struct Validation {
  std::optional<Failure> failure;
  std::vector<std::string> warnings;
};

/// Checks options, layers, upper, work directory, mountpoint and the way to mount, in this order.
/// Creates nothing, and changes nothing. What lies inside what is decided by walking up `..` and
/// comparing identities, within one mount. A mountpoint inside a layer is allowed: the layers are
/// opened before it is covered. Upper and work inside a layer are refused, except where that layer
/// is the root directory, in which everything lies: a warning.
Validation validate(const MountOptions& options, const sys::HostFacts& host);

// The steps, for `plyfs check`, which reports each of them.

std::optional<Failure> check_layer(const LayerPath& layer, sys::DirectoryFacts& facts);
std::optional<Failure> check_mountpoint(const MountOptions& options, const sys::HostFacts& host);
std::optional<Failure> check_fuse_device(const sys::HostFacts& host);
/// fusermount3, where we may not mount ourselves, and what it will allow.
std::optional<Failure> check_fusermount(const MountOptions& options, const sys::HostFacts& host);
/// Layers, upper and work: each of them and how they lie.
Validation check_stack(const MountOptions& options);

/// "/dev/fd/N": the caller has opened /dev/fuse and mounted already.
bool is_mounted_by_caller(const std::string& mountpoint);

}  // namespace plyfs::config
