#include "sys/fd_cache.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"

namespace plyfs::sys {

FdCache::FdCache(std::size_t capacity)
    : capacity_per_shard_(capacity / kShards > 0 ? capacity / kShards : 1) {
  for (Shard& shard : shards_) {
    MutexLock lock{shard.mu};
    shard.entries.reserve(std::min(capacity_per_shard_, kReserved));
  }
}

std::size_t FdCache::KeyHash::operator()(const FdKey& key) const {
  return hash_pair(reinterpret_cast<std::uintptr_t>(key.owner), key.slot);
}

FdCache::Shard& FdCache::shard_of(const FdKey& key) {
  return shards_[(KeyHash{}(key) >> 48) % kShards];
}

FdPin FdCache::find(const FdKey& key) {
  Shard& shard = shard_of(key);
  MutexLock lock{shard.mu};
  const auto found = shard.entries.find(key);
  if (found == shard.entries.end()) {
    ++shard.misses;
    return nullptr;
  }
  ++shard.hits;
  found->second.used = true;
  return found->second.fd;
}

FdPin FdCache::insert(const FdKey& key, FdPin pin, IfPresent if_present) {
  FdPin before;  // closed without the lock
  Shard& shard = shard_of(key);
  MutexLock lock{shard.mu};
  const auto [found, added] = shard.entries.try_emplace(key);
  Entry& entry = found->second;
  if (!added) {
    if (if_present == IfPresent::kKeep) {
      return entry.fd;
    }
    before = std::exchange(entry.fd, pin);
    return pin;
  }
  if (shard.entries.size() > capacity_per_shard_) {
    before = evict(shard);
  }
  try {
    entry.position = shard.order.insert(shard.order.end(), &*found);
  } catch (...) {
    shard.entries.erase(found);
    throw;
  }
  entry.fd = pin;
  return pin;
}

FdPin FdCache::erase(const FdKey& key) {
  Shard& shard = shard_of(key);
  MutexLock lock{shard.mu};
  const auto found = shard.entries.find(key);
  if (found == shard.entries.end()) {
    return nullptr;
  }
  FdPin pin = std::move(found->second.fd);
  shard.order.erase(found->second.position);
  shard.entries.erase(found);
  return pin;
}

std::size_t FdCache::size() {
  std::size_t total = 0;
  for (Shard& shard : shards_) {
    MutexLock lock{shard.mu};
    total += shard.entries.size();
  }
  return total;
}

FdCache::Statistics FdCache::statistics() {
  Statistics sum;
  sum.capacity = capacity_per_shard_ * kShards;
  for (Shard& shard : shards_) {
    MutexLock lock{shard.mu};
    sum.size += shard.entries.size();
    sum.hits += shard.hits;
    sum.misses += shard.misses;
  }
  return sum;
}

FdPin FdCache::evict(Shard& shard) {
  while (!shard.order.empty()) {
    auto& candidate = *shard.order.front();
    if (candidate.second.used) {
      candidate.second.used = false;
      shard.order.splice(shard.order.end(), shard.order, shard.order.begin());
      continue;
    }
    shard.order.pop_front();
    FdPin pin = std::move(candidate.second.fd);
    shard.entries.erase(FdKey{candidate.first});
    return pin;
  }
  return nullptr;
}

}  // namespace plyfs::sys
