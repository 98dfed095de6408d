// What every worker counts of the requests that it serves.
//
// Each worker writes its own counters and nobody else's, so counting is a load and a store without
// any lock prefix or shared cache line; the asking side adds them up.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ticks.h"

namespace plyfs::fuse {

/// Of one kind of request, from its arrival in the daemon until its reply is ready. Sending that is
/// not counted: it wakes the caller, who may go first on this processor.
class OperationCounters {
 public:
  static constexpr std::size_t kBuckets = 40;  ///< bucket n: below 2^n ticks
  /// By the owning worker only.
  void count(std::uint64_t ticks, bool failed) {
    add(requests, 1);
    add(total_ticks, ticks);
    add(errors, failed ? 1 : 0);
    const auto bucket = static_cast<std::size_t>(std::bit_width(ticks));
    add(buckets[bucket < kBuckets ? bucket : kBuckets - 1], 1);
  }
  std::atomic<std::uint64_t> requests{0};
  std::atomic<std::uint64_t> errors{0};
  std::atomic<std::uint64_t> total_ticks{0};
  std::array<std::atomic<std::uint64_t>, kBuckets> buckets{};

 private:
  static void add(std::atomic<std::uint64_t>& counter, std::uint64_t value) {
    counter.store(counter.load(std::memory_order_relaxed) + value, std::memory_order_relaxed);
  }
};

inline constexpr std::size_t kOpcodes = 64;
using WorkerCounters = std::array<OperationCounters, kOpcodes>;

/// The sums over all workers of one kind of request.
struct OperationStatistics {
  std::string name;
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;
  double total_us = 0;
  double p50_us = 0;  ///< the bound of the bucket in which it falls: at most a factor of 2 too high
  double p99_us = 0;
  /// Requests that took less than `below_us` and not less than the entry before; empty ones are
  /// left out.
  struct Bucket {
    double below_us = 0;
    std::uint64_t requests = 0;
  };
  std::vector<Bucket> histogram;
};

/// Thread-safe.
class Counters {
 public:
  /// Counters for one more worker; live as long as this.
  WorkerCounters& add_worker();
  /// Kinds that occurred, by number of requests.
  [[nodiscard]] std::vector<OperationStatistics> statistics();
  [[nodiscard]] double seconds() const { return scale_.seconds_since(); }

 private:
  const TickScale scale_;
  Mutex mu_;
  std::vector<std::unique_ptr<WorkerCounters>> workers_ GUARDED_BY(mu_);
};

/// Of the calling worker; null in threads that serve nothing.
WorkerCounters*& thread_counters();

}  // namespace plyfs::fuse
