// Whether the requests of late had to wait for something.
//
// A worker that is bound to its caller's processor saves waking another one, as long as it answers
// at once. Where it waits for a disk both sleep, and the interrupt comes to whatever processor it
// comes to: a worker that may run there need not be fetched back (D-055).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/ticks.h"

namespace plyfs::fuse {

/// Of one worker, used by its thread only.
class DiskWaits {
 public:
  /// Whether a request took so long that it is worth a system call to ask if the thread slept.
  [[nodiscard]] bool may_have_waited(std::uint64_t service_ticks) const {
    return service_ticks > short_ticks_;
  }
  /// Of each request.
  void note(bool waited) {
    if (waited) {
      level_ = std::min(level_ + kEachWait, kMost);
    } else if (level_ > 0) {
      --level_;
    }
    many_ = many_ ? level_ > 0 : level_ >= kMany;
  }
  [[nodiscard]] bool many() const { return many_; }

 private:
  static constexpr std::chrono::microseconds kShort{50};
  // A few slow requests in a row, not one now and then; and then for a while.
  static constexpr std::uint32_t kEachWait = 4;
  static constexpr std::uint32_t kMany = 8;
  static constexpr std::uint32_t kMost = 16;

  const std::uint64_t short_ticks_ = ticks_in(kShort);
  std::uint32_t level_ = 0;
  bool many_ = false;
};

}  // namespace plyfs::fuse
