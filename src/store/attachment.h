// The volumes of one mount: from what was asked for to host paths, held while the mount lives.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/mount.h"
#include "plyfs/options.h"
#include "store/home.h"
#include "store/mounts.h"
#include "sys/unique_fd.h"

namespace plyfs::store {

/// Guarded by caller. Lives in the process that serves the mount, for as long as it does: the locks
/// of its record and of its volumes end with the process, so a dead mount holds nothing.
class Attachment {
 public:
  Attachment() = default;
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;
  /// Removes the record of a mount without a name; that of a mount that came to nothing is as it
  /// was before.
  ~Attachment();

  /// Makes `options.volumes` of `volume_specs` and `volumes_from`, creating what is missing: host
  /// directories (unless `strict_volumes`), managed volumes. Writes the record of the mount. Waits
  /// while another mount fills one of the volumes. The store is not touched for a mount without a
  /// name whose volumes are host directories.
  std::optional<Failure> resolve(MountOptions& options);

  /// The volumes are filled and opened: others may have them.
  void settle(const MountOptions& options);

  /// The mount came to nothing after all.
  void fail() { settled_ = false; }

 private:
  void discard_made();
  std::optional<Failure> resolve_all(MountOptions& options);
  std::optional<Failure> take_record(const MountOptions& options);
  std::optional<Failure> take_over(const VolumesFrom& from, MountOptions& options);
  std::optional<Failure> resolve_managed(const VolumeSpec& spec, MountOptions& options);
  std::optional<Failure> write_record(const MountOptions& options);
  std::optional<Failure> lock_volumes(MountOptions& options);

  Home home_;
  MountRecord record_;
  std::optional<MountRecord> before_;  ///< the record that this one takes the place of
  bool written_ = false;
  bool settled_ = false;
  std::vector<std::string> made_;       ///< anonymous volumes, by this mount
  sys::UniqueFd alive_;                 ///< the lock of the record
  std::vector<sys::UniqueFd> uses_;     ///< shared locks of the volumes
  std::vector<sys::UniqueFd> filling_;  ///< until settle()
};

}  // namespace plyfs::store
