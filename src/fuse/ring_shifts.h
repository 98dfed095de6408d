// Which of a ring's two threads serves it: the one that yields to everybody, or the ordinary one.
//
// To the scheduler a processor on which only SCHED_IDLE threads run is free. So a caller who is
// woken by the reply of such a thread stays on its processor, instead of waking another one that is
// idle; small requests then take a quarter of the time (D-050). Where others want the processor
// such a thread would starve, and a caller with it: then the ordinary thread serves.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>

#include "sys/scheduling.h"

namespace plyfs::fuse {

/// Of one ring. Thread-safe.
class RingShifts {
 public:
  enum class Shift : std::uint8_t { kYielding, kOrdinary };

  /// Blocks until it is this thread's turn. False at the end.
  bool await(Shift shift);
  /// Gives the ring to the other thread.
  void hand_over();
  /// The connection has ended: both return from await().
  void end();

 private:
  // std's own: a condition variable cannot wait on the annotated Mutex.
  std::mutex mu_;
  std::condition_variable changed_;
  Shift turn_ = Shift::kYielding;  // guarded by mu_
  bool ended_ = false;             // guarded by mu_
};

/// Tells a thread when its shift is over. Used by one thread.
class ShiftWatch {
 public:
  /// Without a shift it is never over.
  explicit ShiftWatch(std::optional<RingShifts::Shift> shift) : shift_(shift) {}
  /// The shift begins.
  void begin();
  /// To be asked after each request.
  [[nodiscard]] bool is_over();

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] bool is_starving();
  [[nodiscard]] bool is_quiet();

  const std::optional<RingShifts::Shift> shift_;
  const sys::RunDelay delay_;
  std::uint32_t requests_ = 0;  ///< of the shift, or since the last measurement
  std::uint32_t starving_looks_ = 0;
  Clock::time_point measured_;
  std::optional<std::chrono::nanoseconds> delay_before_;  ///< at `measured_`
  // Of the ordinary thread:
  Clock::time_point ended_;      ///< its last shift
  Clock::time_point next_look_;  ///< whether others want to run
  Clock::duration patience_{0};  ///< until the first of them
  std::uint32_t quiet_looks_ = 0;
};

}  // namespace plyfs::fuse
