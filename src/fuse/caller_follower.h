// Puts a worker on the processor of the one thread that it works for.
//
// A caller waits while its request is served, so the two need only one processor between them. On
// two, each request and each reply first wakes one that is asleep. A worker that yields to
// everybody is no reason for the scheduler to move the caller away again (fuse/ring_shifts), and
// where others want to run there is no idle processor to which it could (D-052).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "fuse/disk_waits.h"
#include "sys/scheduling.h"

namespace plyfs::fuse {

/// Of one worker, used by its thread only.
class CallerFollower {
 public:
  /// With `on` false, or where the calling thread may use one processor only, it does nothing.
  explicit CallerFollower(bool on);

  /// To be called with each request, before it is served. `caller` is the thread that waits for the
  /// reply, 0 where nobody of our pid namespace does.
  void on_request(pid_t caller) {
    if (allowed_ && caller != 0) {
      note(caller);
    }
  }

  /// To be called after each request, with the time until its reply was ready, in ticks.
  void on_reply(std::uint64_t service) {
    if (allowed_) {
      waits_.note(waits_.may_have_waited(service) && sys::sleeps() != sleeps_);
      if (bound_to_ && waits_.many()) {
        set_free();
      }
    }
  }

  /// To every processor that was allowed before.
  void set_free();

 private:
  void note(pid_t caller);
  /// Whether this thread has been sleeping between requests since it was asked last.
  bool seems_apart();
  /// These two return whether this thread was moved.
  bool try_another();
  bool move_to(const sys::ProcessorSet& processors);

  std::optional<sys::ProcessorSet> allowed_;   ///< none: switched off
  std::optional<sys::ProcessorSet> bound_to_;  ///< none: to all that are allowed
  DiskWaits waits_;
  pid_t caller_ = 0;
  std::uint64_t streak_ = 0;       ///< requests of `caller_` since the last of another one
  std::uint64_t next_look_ = 0;    ///< not before so many of them
  std::uint32_t patience_ = 0;     ///< requests between two looks
  std::uint64_t sleeps_ = 0;       ///< of this thread, when it was asked last
  std::uint64_t preemptions_ = 0;  ///< likewise
};

/// The same for a worker of io_uring: requests come in the queue of their caller's processor, and
/// its place is there unless requests wait for a disk. Of one worker, used by its thread only.
class RingPlace {
 public:
  /// With `on` false it does nothing.
  RingPlace(unsigned processor, bool on);
  /// To be called after each request, with the time until its reply was ready, in ticks.
  void on_reply(std::uint64_t service) {
    // It sleeps before each request, so what it did meanwhile is not known: long is taken for
    // waiting.
    waits_.note(waits_.may_have_waited(service));
    if (allowed_ && waits_.many() != free_) {
      move(waits_.many());
    }
  }

 private:
  void move(bool free);

  const unsigned processor_;
  std::optional<sys::ProcessorSet> allowed_;  ///< none: switched off
  DiskWaits waits_;
  bool free_ = true;
};

}  // namespace plyfs::fuse
