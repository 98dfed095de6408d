#include "fuse/caller_follower.h"

#include <algorithm>
#include <utility>

namespace plyfs::fuse {
namespace {

// Of several callers at once few have so many requests in a row; one alone soon has.
constexpr std::uint32_t kFirstLook = 3;
// The caller may be moved while it works. Beside it this thread is preempted by its reply, or
// sleeps only until the caller does; on another processor it sleeps before each request, and is
// preempted never. One request tells little, so many in a row decide.
constexpr std::uint32_t kAskEvery = 8;  // requests
constexpr std::uint64_t kSleepsApart = 8;
// A caller that computes or waits elsewhere between its requests looks apart wherever this thread
// is: each try in vain makes the next one come later.
constexpr std::uint32_t kLongestWait = 64;  // requests

}  // namespace

CallerFollower::CallerFollower(bool on) {
  const auto allowed =
      on ? sys::ProcessorSet::of_this_thread() : Result<sys::ProcessorSet>{Errno{ENOTSUP}};
  if (allowed && allowed->count() > 1) {
    allowed_ = *allowed;
  }
}

void CallerFollower::note(pid_t caller) {
  if (caller != caller_) {
    caller_ = caller;
    streak_ = 0;
    set_free();  // of several callers each may run somewhere else
  }
  if (waits_.many()) {
    streak_ = 0;  // when it is over, from the start
    sleeps_ = sys::sleeps();
    return;
  }
  ++streak_;
  if (streak_ == kFirstLook) {
    try_another();
    patience_ = kAskEvery;
    next_look_ = streak_ + patience_;
  } else if (streak_ > kFirstLook && streak_ % kAskEvery == 0) {
    if (!seems_apart()) {
      patience_ = kAskEvery;
    } else if (streak_ >= next_look_) {
      try_another();
      patience_ = std::min(2 * patience_, kLongestWait);  // until it was not in vain
      next_look_ = streak_ + patience_;
    }
  }
}

bool CallerFollower::seems_apart() {
  const sys::Switches now = sys::switches();
  const std::uint64_t slept = now.sleeps - std::exchange(sleeps_, now.sleeps);
  const std::uint64_t preempted = now.preemptions - std::exchange(preemptions_, now.preemptions);
  return slept >= kSleepsApart && preempted == 0;
}

bool CallerFollower::move_to(const sys::ProcessorSet& processors) {
  if (bound_to_ == processors || !allowed_->contains(processors) || !processors.apply()) {
    return false;
  }
  bound_to_ = processors;
  return true;
}

// A caller that is bound to one processor is there. Of others nobody may ask where they run: their
// /proc may wait for a lock that they hold until we answer. Whether one is here shows by itself; so
// where it is not, the next processor is tried.
bool CallerFollower::try_another() {
  if (const auto of_caller = sys::ProcessorSet::of_thread(caller_);
      of_caller && of_caller->count() == 1) {
    return move_to(*of_caller);
  }
  const unsigned here = sys::current_processor();
  return move_to(sys::ProcessorSet::only(bound_to_ ? allowed_->next_after(here) : here));
}

void CallerFollower::set_free() {
  if (bound_to_ && allowed_->apply()) {
    bound_to_.reset();
  }
}

RingPlace::RingPlace(unsigned processor, bool on) : processor_(processor) {
  if (!on) {
    return;
  }
  if (const auto allowed = sys::ProcessorSet::of_this_thread()) {
    allowed_ = *allowed;
    move(false);
  }
}

void RingPlace::move(bool free) {
  free_ = free;
  (void)(free ? *allowed_ : sys::ProcessorSet::only(processor_)).apply();
}

}  // namespace plyfs::fuse
