// What was read of directories, kept in their nodes and bounded in bytes over all of them.
#pragma once

#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "node/node.h"

namespace plyfs::node {

struct CacheStatistics {
  std::size_t directories = 0;
  std::size_t bytes = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
};

/// `slot` is where a directory keeps its `T`. Thread-safe; its mutex is a leaf.
template <typename T, CacheSlot<T> DirectoryData::*slot>
class DirectoryCache {
 public:
  using Pointer = std::shared_ptr<const T>;
  explicit DirectoryCache(std::size_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// Null when there is none.
  Pointer find(Node& directory) {
    MutexLock lock{mu_};
    CacheSlot<T>& mine = directory.directory().*slot;
    if (mine.value) {
      order_.splice(order_.end(), order_, mine.position);
    }
    ++(mine.value ? hits_ : misses_);
    return mine.value;
  }

  [[nodiscard]] CacheStatistics statistics() {
    MutexLock lock{mu_};
    return {order_.size(), bytes_, hits_, misses_};
  }

  void put(Node& directory, Pointer value) {
    std::vector<Pointer> dropped;  // freed without the lock
    MutexLock lock{mu_};
    drop_locked(directory, dropped);
    CacheSlot<T>& mine = directory.directory().*slot;
    bytes_ += value->bytes();
    mine.value = std::move(value);
    mine.position = order_.insert(order_.end(), &directory);
    // The newest always stays: a directory larger than the limit must still be readable.
    while (bytes_ > limit_bytes_ && order_.front() != &directory) {
      drop_locked(*order_.front(), dropped);
    }
  }

  void forget(Node& directory) {
    std::vector<Pointer> dropped;
    MutexLock lock{mu_};
    drop_locked(directory, dropped);
  }

 private:
  void drop_locked(Node& directory, std::vector<Pointer>& dropped) REQUIRES(mu_) {
    CacheSlot<T>& theirs = directory.directory().*slot;
    if (theirs.value) {
      bytes_ -= theirs.value->bytes();
      order_.erase(theirs.position);
      dropped.push_back(std::move(theirs.value));
      theirs.value = nullptr;
    }
  }

  const std::size_t limit_bytes_;
  Mutex mu_;
  std::size_t bytes_ GUARDED_BY(mu_) = 0;
  std::uint64_t hits_ GUARDED_BY(mu_) = 0;
  std::uint64_t misses_ GUARDED_BY(mu_) = 0;
  std::list<Node*> order_ GUARDED_BY(mu_);  ///< front was used longest ago
};

using ListingCache = DirectoryCache<merge::Listing, &DirectoryData::listing>;
using LowerNamesCache = DirectoryCache<merge::LowerNames, &DirectoryData::lower_names>;

}  // namespace plyfs::node
