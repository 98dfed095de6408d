#include "timeline.h"

#include <cstdint>

namespace plyfs::difftest {
namespace {

constexpr std::int64_t kNanoseconds = 1000000000;
/// Time stamps come from the tick before: 10 ms at the slowest tick, doubled.
constexpr std::int64_t kTick = 20000000;

std::int64_t count(timespec time) { return time.tv_sec * kNanoseconds + time.tv_nsec; }

}  // namespace

bool same_time(timespec left, timespec right) { return count(left) == count(right); }

timespec Timeline::now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return time;
}

bool Timeline::set_by_clock(timespec time) const {
  return count(time) >= count(start_) - kTick && count(time) <= count(now()) + kTick;
}

bool Timeline::agree(timespec left, timespec right) const {
  if (same_time(left, right)) return true;
  if (!set_by_clock(left) || !set_by_clock(right)) return false;
  for (const Span& span : spans_) {
    const std::int64_t begin = count(span.begin) - kTick;
    const std::int64_t end = count(span.end) + kTick;
    const bool fits_left = count(left) >= begin && count(left) <= end;
    const bool fits_right = count(right) >= begin && count(right) <= end;
    if (fits_left && fits_right) return true;
  }
  return false;
}

}  // namespace plyfs::difftest
