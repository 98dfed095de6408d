// A bounded number of descriptors, each kept in the object that it is of.
//
// The same as FdCache where there is such an object at hand: nothing is looked up. To find a
// descriptor by a key costs several misses of the processor's cache, more than many system calls.
#pragma once

#include <array>
#include <cstddef>

#include "base/mutex.h"
#include "sys/fd_cache.h"

namespace plyfs::sys {

/// Where one descriptor is kept. Its owner takes it out (FdSlots::erase) before it goes; until
/// something was put in, it may be moved.
class FdSlot {
 public:
  FdSlot() = default;
  FdSlot(FdSlot&& /*empty*/) noexcept {}
  FdSlot& operator=(FdSlot&& /*empty*/) noexcept { return *this; }
  FdSlot(const FdSlot&) = delete;
  FdSlot& operator=(const FdSlot&) = delete;

 private:
  friend class FdSlots;
  // Guarded by the mutex of its shard.
  FdPin fd_;
  FdSlot* older_ = nullptr;
  FdSlot* newer_ = nullptr;
  bool used_ = false;
};

/// Thread-safe. Descriptors that were not used for long are closed first (second chance).
class FdSlots {
 public:
  explicit FdSlots(std::size_t capacity);
  /// Null when there is none.
  FdPin find(FdSlot& slot);
  /// What is in `slot` afterwards: of a thread that was faster, or `pin`.
  FdPin insert(FdSlot& slot, FdPin pin);
  void erase(FdSlot& slot);
  [[nodiscard]] FdCache::Statistics statistics();

 private:
  static constexpr std::size_t kShards = 16;
  struct Shard {
    Mutex mu;
    FdSlot* oldest GUARDED_BY(mu) = nullptr;
    FdSlot* newest GUARDED_BY(mu) = nullptr;
    std::size_t size GUARDED_BY(mu) = 0;
    std::uint64_t hits GUARDED_BY(mu) = 0;
    std::uint64_t misses GUARDED_BY(mu) = 0;
  };
  Shard& shard_of(const FdSlot& slot);
  static void append(Shard& shard, FdSlot& slot) REQUIRES(shard.mu);
  static void unlink(Shard& shard, FdSlot& slot) REQUIRES(shard.mu);
  /// What had to go; to be closed without the lock.
  static FdPin evict(Shard& shard) REQUIRES(shard.mu);

  const std::size_t capacity_per_shard_;
  std::array<Shard, kShards> shards_;
};

}  // namespace plyfs::sys
