#include "sys/fd_slots.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace plyfs::sys {

FdSlots::FdSlots(std::size_t capacity)
    : capacity_per_shard_(std::max<std::size_t>(capacity / kShards, 1)) {}

FdSlots::Shard& FdSlots::shard_of(const FdSlot& slot) {
  return shards_[hash_pair(reinterpret_cast<std::uintptr_t>(&slot), 0) % kShards];
}

FdPin FdSlots::find(FdSlot& slot) {
  Shard& shard = shard_of(slot);
  const MutexLock lock{shard.mu};
  ++(slot.fd_ ? shard.hits : shard.misses);
  slot.used_ = true;
  return slot.fd_;
}

FdPin FdSlots::insert(FdSlot& slot, FdPin pin) {
  FdPin dropped;  // closed without the lock
  Shard& shard = shard_of(slot);
  const MutexLock lock{shard.mu};
  if (slot.fd_) {
    return slot.fd_;
  }
  if (shard.size >= capacity_per_shard_) {
    dropped = evict(shard);
  }
  slot.fd_ = pin;
  slot.used_ = false;
  append(shard, slot);
  return pin;
}

void FdSlots::erase(FdSlot& slot) {
  FdPin dropped;
  Shard& shard = shard_of(slot);
  const MutexLock lock{shard.mu};
  if (slot.fd_) {
    unlink(shard, slot);
    dropped = std::exchange(slot.fd_, nullptr);
  }
}

FdCache::Statistics FdSlots::statistics() {
  FdCache::Statistics sum;
  sum.capacity = capacity_per_shard_ * kShards;
  for (Shard& shard : shards_) {
    const MutexLock lock{shard.mu};
    sum.size += shard.size;
    sum.hits += shard.hits;
    sum.misses += shard.misses;
  }
  return sum;
}

void FdSlots::append(Shard& shard, FdSlot& slot) {
  slot.older_ = shard.newest;
  slot.newer_ = nullptr;
  (shard.newest != nullptr ? shard.newest->newer_ : shard.oldest) = &slot;
  shard.newest = &slot;
  ++shard.size;
}

void FdSlots::unlink(Shard& shard, FdSlot& slot) {
  (slot.older_ != nullptr ? slot.older_->newer_ : shard.oldest) = slot.newer_;
  (slot.newer_ != nullptr ? slot.newer_->older_ : shard.newest) = slot.older_;
  --shard.size;
}

FdPin FdSlots::evict(Shard& shard) {
  while (shard.oldest != nullptr) {
    FdSlot& candidate = *shard.oldest;
    unlink(shard, candidate);
    if (!std::exchange(candidate.used_, false)) {
      return std::exchange(candidate.fd_, nullptr);
    }
    append(shard, candidate);
  }
  return nullptr;
}

}  // namespace plyfs::sys
