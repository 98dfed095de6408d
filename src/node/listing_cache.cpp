#include "node/listing_cache.h"

#include <vector>

namespace plyfs::node {

ListingCache::ListingPtr ListingCache::find(Node& directory, Accept accept) {
  MutexLock lock{mu_};
  DirectoryData& data = directory.directory();
  if (!data.listing ||
      (accept == Accept::kCurrent && data.listing_version != data.version.load())) {
    return nullptr;
  }
  order_.splice(order_.end(), order_, data.listing_position);
  return data.listing;
}

void ListingCache::put(Node& directory, ListingPtr listing, std::uint32_t version) {
  std::vector<ListingPtr> dropped;  // freed without the lock
  MutexLock lock{mu_};
  drop_locked(directory, dropped.emplace_back());
  DirectoryData& data = directory.directory();
  bytes_ += listing->bytes();
  data.listing = std::move(listing);
  data.listing_version = version;
  data.listing_position = order_.insert(order_.end(), &directory);
  // The newest always stays: a directory larger than the limit must still be readable.
  while (bytes_ > limit_bytes_ && order_.front() != &directory) {
    drop_locked(*order_.front(), dropped.emplace_back());
  }
}

void ListingCache::forget(Node& directory) {
  ListingPtr dropped;
  MutexLock lock{mu_};
  drop_locked(directory, dropped);
}

void ListingCache::drop_locked(Node& directory, ListingPtr& dropped) {
  DirectoryData& data = directory.directory();
  if (data.listing) {
    bytes_ -= data.listing->bytes();
    order_.erase(data.listing_position);
    dropped = std::move(data.listing);
    data.listing = nullptr;
  }
}

}  // namespace plyfs::node
