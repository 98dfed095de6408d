// Taking the bind mounts of volumes off a mount, all or none.
#pragma once

#include <string>
#include <vector>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::config {

/// The bind mounts that a daemon has put over its mount. Guarded by caller.
class BoundVolumes {
 public:
  /// Asks the daemon behind `mountpoint`. Empty where it has none, or is no plyfs of ours.
  /// ENOTCONN: the daemon is dead.
  static Result<BoundVolumes> of(const std::string& mountpoint);

  [[nodiscard]] bool empty() const { return places_.empty(); }
  /// Unmounts them, the last first. On failure those that were off are back, and `busy()` says
  /// which one could not be taken off.
  Status unmount();
  /// Puts back what unmount() took off.
  void restore();
  [[nodiscard]] const std::string& busy() const { return busy_; }

 private:
  struct Taken {
    std::string place;
    sys::UniqueFd tree;  ///< a copy, not attached
  };

  std::string mountpoint_;
  std::vector<std::string> places_;  ///< below the mountpoint, in the order of mounting
  std::vector<Taken> taken_;
  std::string busy_;
};

}  // namespace plyfs::config
