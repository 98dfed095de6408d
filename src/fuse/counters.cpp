#include "fuse/counters.h"

#include <linux/fuse.h>

#include <algorithm>
#include <cmath>

namespace plyfs::fuse {
namespace {

struct Name {
  std::size_t opcode;
  const char* name;
};

/// 51 is FUSE_TMPFILE, which Debian 12's header does not know.
constexpr Name kNames[] = {
    {FUSE_LOOKUP, "lookup"},
    {FUSE_FORGET, "forget"},
    {FUSE_GETATTR, "getattr"},
    {FUSE_SETATTR, "setattr"},
    {FUSE_READLINK, "readlink"},
    {FUSE_SYMLINK, "symlink"},
    {FUSE_MKNOD, "mknod"},
    {FUSE_MKDIR, "mkdir"},
    {FUSE_UNLINK, "unlink"},
    {FUSE_RMDIR, "rmdir"},
    {FUSE_RENAME, "rename"},
    {FUSE_RENAME2, "rename"},
    {FUSE_LINK, "link"},
    {FUSE_OPEN, "open"},
    {FUSE_READ, "read"},
    {FUSE_WRITE, "write"},
    {FUSE_STATFS, "statfs"},
    {FUSE_RELEASE, "release"},
    {FUSE_FSYNC, "fsync"},
    {FUSE_SETXATTR, "setxattr"},
    {FUSE_GETXATTR, "getxattr"},
    {FUSE_LISTXATTR, "listxattr"},
    {FUSE_REMOVEXATTR, "removexattr"},
    {FUSE_FLUSH, "flush"},
    {FUSE_INIT, "init"},
    {FUSE_OPENDIR, "opendir"},
    {FUSE_READDIR, "readdir"},
    {FUSE_RELEASEDIR, "releasedir"},
    {FUSE_FSYNCDIR, "fsyncdir"},
    {FUSE_ACCESS, "access"},
    {51, "tmpfile"},
    {FUSE_CREATE, "create"},
    {FUSE_INTERRUPT, "interrupt"},
    {FUSE_DESTROY, "destroy"},
    {FUSE_IOCTL, "ioctl"},
    {FUSE_BATCH_FORGET, "batch_forget"},
    {FUSE_FALLOCATE, "fallocate"},
    {FUSE_READDIRPLUS, "readdirplus"},
    {FUSE_LSEEK, "lseek"},
    {FUSE_COPY_FILE_RANGE, "copy_file_range"},
};

const char* opcode_name(std::size_t opcode) {
  const auto* const found = std::ranges::find(kNames, opcode, &Name::opcode);
  return found != std::end(kNames) ? found->name : "other";
}

std::uint64_t value_of(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

struct Sum {
  std::string name;
  std::uint64_t requests = 0;
  std::uint64_t errors = 0;
  std::uint64_t ticks = 0;
  std::array<std::uint64_t, OperationCounters::kBuckets> buckets{};

  void add(const OperationCounters& counters) {
    requests += value_of(counters.requests);
    errors += value_of(counters.errors);
    ticks += value_of(counters.total_ticks);
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      buckets[i] += value_of(counters.buckets[i]);
    }
  }

  [[nodiscard]] double quantile_us(double quantile, double us_per_tick) const {
    // Counted from the buckets, which may be a few requests ahead of `requests`.
    std::uint64_t all = 0;
    for (const std::uint64_t in_bucket : buckets) {
      all += in_bucket;
    }
    const auto wanted = static_cast<std::uint64_t>(std::ceil(quantile * static_cast<double>(all)));
    std::uint64_t passed = 0;
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      passed += buckets[i];
      if (passed >= wanted && passed > 0) {
        return std::ldexp(us_per_tick, static_cast<int>(i));
      }
    }
    return 0;
  }

  [[nodiscard]] OperationStatistics statistics(double us_per_tick) const {
    OperationStatistics made;
    made.name = name;
    made.requests = requests;
    made.errors = errors;
    made.total_us = static_cast<double>(ticks) * us_per_tick;
    made.p50_us = quantile_us(0.5, us_per_tick);
    made.p99_us = quantile_us(0.99, us_per_tick);
    for (std::size_t i = 0; i < buckets.size(); ++i) {
      if (buckets[i] != 0) {
        made.histogram.push_back({std::ldexp(us_per_tick, static_cast<int>(i)), buckets[i]});
      }
    }
    return made;
  }
};

}  // namespace

WorkerCounters& Counters::add_worker() {
  auto made = std::make_unique<WorkerCounters>();
  MutexLock lock{mu_};
  workers_.push_back(std::move(made));
  return *workers_.back();
}

std::vector<OperationStatistics> Counters::statistics() {
  std::vector<Sum> sums;
  {
    MutexLock lock{mu_};
    for (const auto& worker : workers_) {
      for (std::size_t opcode = 0; opcode < kOpcodes; ++opcode) {
        const std::string name = opcode_name(opcode);
        auto sum = std::ranges::find(sums, name, &Sum::name);
        if (sum == sums.end()) {
          sums.push_back({});
          sum = sums.end() - 1;
          sum->name = name;
        }
        sum->add((*worker)[opcode]);
      }
    }
  }
  const double us_per_tick = scale_.ns_per_tick() / 1000;
  std::vector<OperationStatistics> statistics;
  for (const Sum& sum : sums) {
    if (sum.requests > 0) {
      statistics.push_back(sum.statistics(us_per_tick));
    }
  }
  std::ranges::stable_sort(statistics, std::ranges::greater{}, &OperationStatistics::requests);
  return statistics;
}

WorkerCounters*& thread_counters() {
  thread_local WorkerCounters* counters = nullptr;
  return counters;
}

}  // namespace plyfs::fuse
