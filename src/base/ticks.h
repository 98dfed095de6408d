// A clock that costs a few nanoseconds and no system call, for measuring every request.
#pragma once

#include <chrono>
#include <cstdint>

namespace plyfs {

/// Ticks of unknown length, the same on all processors (invariant TSC; else nanoseconds). A thread
/// that moves between processors may see differences of a few nanoseconds.
inline std::uint64_t ticks_now() {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_ia32_rdtsc();
#else
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch() /
                                    std::chrono::nanoseconds{1});
#endif
}

/// Learns how long a tick is from the time since it was made.
class TickScale {
 public:
  TickScale() : ticks_(ticks_now()), time_(std::chrono::steady_clock::now()) {}
  /// Nanoseconds per tick; more precise the longer this lives.
  [[nodiscard]] double ns_per_tick() const {
    const std::uint64_t ticks = ticks_now() - ticks_;
    const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - time_;
    return ticks == 0 ? 1.0 : time.count() / static_cast<double>(ticks);
  }
  [[nodiscard]] double seconds_since() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - time_).count();
  }

 private:
  std::uint64_t ticks_;
  std::chrono::steady_clock::time_point time_;
};

/// How many ticks so much time is, as learnt since the process began.
std::uint64_t ticks_in(std::chrono::nanoseconds time);

}  // namespace plyfs
