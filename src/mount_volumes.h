// A mount's volumes: opened, found their places in the tree, and put there. Part of the composition
// root: it sees the union and the volumes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "node/node_table.h"
#include "ops/filesystem.h"
#include "plyfs/mount.h"
#include "plyfs/options.h"
#include "sys/creds.h"
#include "sys/unique_fd.h"
#include "volume/mount_points.h"
#include "volume/tree.h"

namespace plyfs {

inline constexpr int kMountFailed = 32;  ///< exit code, as of mount(8)

/// Built before mounting, const while serving. Destroyed before the FileSystem.
class MountVolumes {
 public:
  struct Surroundings {
    ops::FileSystem& filesystem;
    const sys::Privileges& privileges;
    std::string mountpoint;         ///< absolute, or /dev/fd/N
    sys::BorrowedFd mountpoint_fd;  ///< from before the mount; invalid with /dev/fd/N
    bool suid = false;              ///< the mount will honour suid bits
  };

  /// Null when `failure` was filled. The mount has at least one volume.
  static std::unique_ptr<MountVolumes> make(const MountOptions& options, Surroundings surroundings,
                                            Failure& failure);

  [[nodiscard]] volume::VolumeTree& tree() { return *tree_; }
  [[nodiscard]] const volume::MountPoints& points() const { return points_; }
  [[nodiscard]] const VolumeReport& report() const { return report_; }
  /// Our connection serves what others change.
  [[nodiscard]] bool live() const { return report_.mode == VolumeMode::kFuse; }
  [[nodiscard]] bool any_writable() const;
  /// The mount of a served volume's source is nodev.
  [[nodiscard]] bool no_devices() const { return live() && tree_->any_without_devices(); }
  /// One of the served volumes can hold POSIX ACLs.
  [[nodiscard]] bool acl() const { return acl_; }
  /// Places of bind mounts below the mountpoint, in the order of the volumes. Empty otherwise.
  [[nodiscard]] std::vector<std::string> bound_places() const;

  /// Bind mode, while the mount is served: puts the bind mounts over their places. On failure what
  /// was put there stays until the mount is taken off, which takes them along.
  bool attach(Failure& failure);

 private:
  struct Volume {
    const VolumeMount* asked = nullptr;
    sys::UniqueFd object;  ///< moves to the tree
    sys::UniqueFd clone;   ///< bind mode: the detached mount
    mode_t type = 0;
    std::string place;  ///< path below the mountpoint, resolved
  };
  class Walk;

  explicit MountVolumes(const MountOptions& options) : options_(options) {}
  bool open_sources(const Surroundings& around, Failure& failure);
  bool choose_mode(const Surroundings& around, Failure& failure);
  bool place_all(const Surroundings& around, Failure& failure);
  bool place(Volume& volume, const Surroundings& around, Failure& failure);
  Result<std::optional<volume::CoveredPlace>> covered_in(sys::BorrowedFd source,
                                                         const Surroundings& around);
  Result<sys::UniqueFd> target_of(sys::BorrowedFd root, const Volume& volume);

  const MountOptions options_;
  VolumeReport report_;
  bool acl_ = false;
  std::string mountpoint_;
  std::vector<Volume> volumes_;
  std::unique_ptr<volume::VolumeTree> tree_;
  volume::MountPoints points_;
  // The directories that mount points lie in: their addresses are keys.
  std::vector<node::NodeRef> kept_;
  std::vector<volume::VolumeNodeRef> kept_in_volumes_;
};

}  // namespace plyfs
