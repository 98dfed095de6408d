// A bounded cache of descriptors: the daemon holds few, however many inodes the kernel knows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// A descriptor in use. Stays open while the pin lives, also when the cache has dropped it.
using FdPin = std::shared_ptr<const UniqueFd>;

struct FdKey {
  const void* owner = nullptr;
  std::uint32_t slot = 0;  ///< which of the owner's descriptors
  friend bool operator==(const FdKey&, const FdKey&) = default;
};

/// Thread-safe. Least recently used descriptors are closed first (second chance per shard).
/// Cost of a hit: one short lock, no allocation.
class FdCache {
 public:
  explicit FdCache(std::size_t capacity);
  /// Null when not cached.
  FdPin find(const FdKey& key);
  /// Puts `fd` under `key`. When another thread was faster its descriptor is returned instead,
  /// unless `replace` is asked for.
  enum class IfPresent : std::uint8_t { kKeep, kReplace };
  FdPin insert(const FdKey& key, UniqueFd fd, IfPresent if_present) {
    return insert(key, std::make_shared<const UniqueFd>(std::move(fd)), if_present);
  }
  FdPin insert(const FdKey& key, FdPin pin, IfPresent if_present);
  /// Forgets `key`; the returned pin (null if absent) keeps the descriptor.
  FdPin erase(const FdKey& key);
  [[nodiscard]] std::size_t size();
  /// Calls `visit` with the owner of each descriptor that is open now, some more than once. Until
  /// it returns the descriptor is not erased: so an owner that erases its descriptors before it
  /// goes is there. It may take locks, but call nothing here.
  template <typename Visit>
  void visit_owners(const Visit& visit) {
    for (Shard& shard : shards_) {
      const MutexLock lock{shard.mu};
      for (const auto* const entry : shard.order) {
        visit(entry->first.owner);
      }
    }
  }
  struct Statistics {
    std::size_t size = 0;
    std::size_t capacity = 0;
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
  };
  [[nodiscard]] Statistics statistics();

 private:
  static constexpr std::size_t kShards = 16;
  static constexpr std::size_t kReserved = 256;  ///< per shard, at once: 2 KiB
  struct KeyHash {
    std::size_t operator()(const FdKey& key) const;
  };
  struct Entry;
  using Entries = std::unordered_map<FdKey, Entry, KeyHash>;
  using Order = std::list<std::pair<const FdKey, Entry>*>;  ///< of Entries: they do not move
  struct Entry {
    FdPin fd;
    Order::iterator position;
    bool used = false;
  };
  struct Shard {
    Mutex mu;
    Entries entries GUARDED_BY(mu);
    Order order GUARDED_BY(mu);  ///< front is the next candidate for eviction
    std::uint64_t hits GUARDED_BY(mu) = 0;
    std::uint64_t misses GUARDED_BY(mu) = 0;
  };
  Shard& shard_of(const FdKey& key);
  /// What had to go; to be closed without the lock.
  FdPin evict(Shard& shard) REQUIRES(shard.mu);

  const std::size_t capacity_per_shard_;
  std::array<Shard, kShards> shards_;
};

}  // namespace plyfs::sys
