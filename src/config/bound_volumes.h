// Taking the bind mounts of volumes off a mount, all or none.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/result.h"
#include "sys/mount_table.h"
#include "sys/unique_fd.h"

namespace plyfs::config {

/// Where a daemon has bound a volume.
struct BoundPlace {
  std::string place;   ///< below the mountpoint, no links, no slash in front
  std::string source;  ///< the host path of the volume
};

/// The bind mounts that a daemon has put over its mount, and what came with them: mounts that the
/// host has below a volume's source. Guarded by caller.
class BoundVolumes {
 public:
  BoundVolumes() = default;
  /// `places` as a daemon of our own user told them, in the order of mounting. Nobody else is
  /// believed: what is unmounted here is unmounted with our rights.
  BoundVolumes(std::string mountpoint, const std::vector<BoundPlace>& places);

  /// Unmounts them, the last first. On failure those that were off are back, and `busy()` says
  /// which one could not be taken off.
  Status unmount();
  /// Puts back what unmount() took off.
  void restore();
  [[nodiscard]] const std::string& busy() const { return busy_; }
  /// What somebody else has mounted inside of that one.
  [[nodiscard]] const std::vector<std::string>& inside() const { return inside_; }

 private:
  struct Bound {
    std::string place;  ///< below the mountpoint
    int mount_id = 0;
  };
  struct Taken {
    std::string place;
    sys::UniqueFd tree;  ///< a copy, not attached
  };
  void add_place(const BoundPlace& bound, const sys::MountTable& table);
  Status unmount_last(Taken& taken);

  std::string mountpoint_;
  std::vector<Bound> bound_;  ///< in the order of mounting
  std::vector<Taken> taken_;
  std::string busy_;
  std::vector<std::string> inside_;
};

/// The paths of mounts below `path`, those that must go first at the front.
std::vector<std::string> mounts_inside(const std::string& path);

}  // namespace plyfs::config
