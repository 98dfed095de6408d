// Directories that were read in part, for whoever reads on.
//
// There are no OPENDIR messages, so each READDIR may need a descriptor of its own, at an offset
// that another one gave. Most filesystems can go on there. Those that collect a directory at its
// first read (network filesystems on FUSE, overlayfs) do so again, or worse.
#pragma once

#include <cstdint>
#include <vector>

#include "base/mutex.h"
#include "sys/unique_fd.h"

namespace plyfs::volume {

class VolumeNode;

/// Thread-safe. Bounded: the oldest is closed.
class OpenListings {
 public:
  /// The descriptor that was left at `offset`, the latest if there are several; invalid for none.
  sys::UniqueFd take(const VolumeNode& directory, std::uint64_t offset);
  void keep(const VolumeNode& directory, std::uint64_t offset, sys::UniqueFd listed);
  void drop(const VolumeNode& directory);

 private:
  static constexpr std::size_t kMost = 16;
  struct Listing {
    const VolumeNode* directory = nullptr;
    std::uint64_t offset = 0;
    sys::UniqueFd descriptor;
  };
  Mutex mu_;
  std::vector<Listing> kept_ GUARDED_BY(mu_);  ///< the oldest first
};

}  // namespace plyfs::volume
