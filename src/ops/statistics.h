// What the verbs have done so far, for those who ask a live mount.
#pragma once

#include <atomic>
#include <cstdint>

#include "node/directory_cache.h"
#include "sys/fd_cache.h"

namespace plyfs::ops {

/// Copy-ups are rare and slow beside one atomic addition.
class CopyUpCounters {
 public:
  enum class What : std::uint8_t {
    kFile,       ///< with its data, or an object that has none
    kMetadata,   ///< attributes only
    kCompleted,  ///< the data of a metadata-only copy, later
    kDirectory,
  };
  void count(What what, std::int64_t data_bytes) {
    counts_[static_cast<std::size_t>(what)].fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(static_cast<std::uint64_t>(data_bytes), std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t of(What what) const {
    return counts_[static_cast<std::size_t>(what)].load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> counts_[4] = {};
  std::atomic<std::uint64_t> bytes_{0};
};

struct Statistics {
  std::uint64_t files_copied = 0;
  std::uint64_t metadata_copied = 0;
  std::uint64_t files_completed = 0;
  std::uint64_t directories_copied = 0;
  std::uint64_t bytes_copied = 0;  ///< sizes of the files, holes and shared blocks included
  std::uint64_t upper_changes = 0;
  std::size_t nodes = 0;
  sys::FdCache::Statistics directory_fds;
  sys::FdCache::Statistics file_fds;
  node::CacheStatistics listings;
};

}  // namespace plyfs::ops
