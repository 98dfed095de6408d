// The volumes of one mount: from what was asked for to host paths, held while the mount lives.
#pragma once

#include <optional>

#include "plyfs/mount.h"
#include "plyfs/options.h"

namespace plyfs::store {

/// Guarded by caller. Lives in the process that serves the mount, for as long as it does.
class Attachment {
 public:
  /// Makes `options.volumes` of `volume_specs` and `volumes_from`. Missing host directories are
  /// created, unless `strict_volumes`. Paths below the current directory are not needed afterwards.
  std::optional<Failure> resolve(MountOptions& options);

 private:
  static std::optional<Failure> resolve_bind(const VolumeSpec& spec, MountOptions& options);
};

}  // namespace plyfs::store
