#include "volume/open_listings.h"

#include <algorithm>
#include <utility>

namespace plyfs::volume {

sys::UniqueFd OpenListings::take(const VolumeNode& directory, std::uint64_t offset) {
  const MutexLock lock{mu_};
  const auto found = std::find_if(kept_.rbegin(), kept_.rend(), [&](const Listing& listing) {
    return listing.directory == &directory && listing.offset == offset;
  });
  if (found == kept_.rend()) {
    return {};
  }
  sys::UniqueFd descriptor = std::move(found->descriptor);
  kept_.erase(std::prev(found.base()));
  return descriptor;
}

void OpenListings::keep(const VolumeNode& directory, std::uint64_t offset, sys::UniqueFd listed) {
  sys::UniqueFd closed_later;  // without the lock
  const MutexLock lock{mu_};
  if (kept_.size() == kMost) {
    closed_later = std::move(kept_.front().descriptor);
    kept_.erase(kept_.begin());
  }
  kept_.push_back({&directory, offset, std::move(listed)});
}

void OpenListings::drop(const VolumeNode& directory) {
  std::vector<Listing> closed_later;
  const MutexLock lock{mu_};
  const auto dropped = std::stable_partition(
      kept_.begin(), kept_.end(),
      [&](const Listing& listing) { return listing.directory != &directory; });
  closed_later.assign(std::make_move_iterator(dropped), std::make_move_iterator(kept_.end()));
  kept_.erase(dropped, kept_.end());
}

}  // namespace plyfs::volume
