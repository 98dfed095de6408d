// Listings of directories being read, bounded in bytes over all directories.
#pragma once

#include <list>
#include <memory>

#include "base/mutex.h"
#include "merge/listing.h"
#include "node/node.h"

namespace plyfs::node {

/// Thread-safe.
class ListingCache {
 public:
  using ListingPtr = std::shared_ptr<const merge::Listing>;
  explicit ListingCache(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// Null when there is none. Reading from the start asks for one of the present `version`; a
  /// reader under way goes on with an older one (POSIX leaves open whether it sees changes).
  enum class Accept : std::uint8_t { kCurrent, kAny };
  ListingPtr find(Node& directory, Accept accept);
  void put(Node& directory, ListingPtr listing, std::uint32_t version);
  void forget(Node& directory);

 private:
  void drop_locked(Node& directory, ListingPtr& dropped) REQUIRES(mu_);

  const std::size_t limit_bytes_;
  Mutex mu_;
  std::size_t bytes_ GUARDED_BY(mu_) = 0;
  std::list<Node*> order_ GUARDED_BY(mu_);  ///< front was used longest ago
};

}  // namespace plyfs::node
