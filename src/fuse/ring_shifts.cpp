#include "fuse/ring_shifts.h"

#include <algorithm>
#include <utility>

namespace plyfs::fuse {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Beside nobody a thread waits some microseconds for each request: until its caller has gone to
// sleep. Beside a busy process it is a time slice, some milliseconds.
constexpr std::uint32_t kMeasureEvery = 4;   // requests
constexpr std::uint32_t kStarvingLooks = 3;  // in a row
constexpr microseconds kStarving{300};       // for each request
// A shift that ended sooner was a mistake, and the next one is put off twice as long.
constexpr seconds kLongShift{1};
constexpr milliseconds kLeastPatience{50};
constexpr seconds kMostPatience{10};
constexpr std::uint32_t kQuietLooks = 4;
constexpr milliseconds kBetweenLooks{5};

}  // namespace

bool RingShifts::await(Shift shift) {
  std::unique_lock lock{mu_};
  changed_.wait(lock, [&] { return ended_ || turn_ == shift; });
  return !ended_;
}

void RingShifts::hand_over() {
  {
    const std::lock_guard lock{mu_};
    turn_ = turn_ == Shift::kYielding ? Shift::kOrdinary : Shift::kYielding;
  }
  changed_.notify_all();
}

void RingShifts::end() {
  {
    const std::lock_guard lock{mu_};
    ended_ = true;
  }
  changed_.notify_all();
}

void ShiftWatch::begin() {
  const Clock::time_point now = Clock::now();
  patience_ = now - ended_ > kLongShift ? Clock::duration{kLeastPatience}
                                        : std::min<Clock::duration>(2 * patience_, kMostPatience);
  next_look_ = now + patience_;
  measured_ = now;
  delay_before_.reset();
  requests_ = quiet_looks_ = starving_looks_ = 0;
}

bool ShiftWatch::is_over() {
  if (!shift_) {
    return false;
  }
  ++requests_;
  return *shift_ == RingShifts::Shift::kYielding ? is_starving() : is_quiet();
}

bool ShiftWatch::is_starving() {
  if (requests_ < kMeasureEvery) {
    return false;
  }
  // Nobody waited longer than it took; only then it is worth a system call to ask.
  const Clock::time_point now = Clock::now();
  const auto limit = kStarving * std::exchange(requests_, 0);
  if (now - std::exchange(measured_, now) < limit) {
    delay_before_.reset();
    starving_looks_ = 0;
    return false;
  }
  const std::chrono::nanoseconds delay = delay_.so_far();
  const auto before = std::exchange(delay_before_, delay);
  // A caller that computes between its requests lets us wait as well, now and then.
  starving_looks_ = before && delay - *before > limit ? starving_looks_ + 1 : 0;
  return starving_looks_ == kStarvingLooks;
}

// The caller of the request just served may run already; nobody else may.
bool ShiftWatch::is_quiet() {
  const Clock::time_point now = Clock::now();
  if (now < next_look_) {
    return false;
  }
  const unsigned running = sys::runnable_threads();
  if (running == 0 || running > 2) {
    quiet_looks_ = 0;
    next_look_ = now + kLeastPatience;
    return false;
  }
  next_look_ = now + kBetweenLooks;
  if (++quiet_looks_ < kQuietLooks) {
    return false;
  }
  ended_ = now;
  return true;
}

}  // namespace plyfs::fuse
