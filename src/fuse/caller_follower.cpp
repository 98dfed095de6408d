#include "fuse/caller_follower.h"

#include <utility>

namespace plyfs::fuse {
namespace {

// Of several callers at once none has so many requests in a row; one alone soon has.
constexpr std::uint32_t kFirstLook = 8;
// The caller may be moved while it works.
constexpr std::uint32_t kLookEvery = 32;

}  // namespace

CallerFollower::CallerFollower(bool on) {
  auto allowed = on ? sys::ProcessorSet::of_thread(0) : Result<sys::ProcessorSet>{Errno{ENOTSUP}};
  if (allowed && allowed->count() > 1) {
    allowed_ = std::move(*allowed);
  }
}

void CallerFollower::note(pid_t caller) {
  if (caller != caller_) {
    caller_ = caller;
    streak_ = 0;
    set_free();  // of several callers each may run somewhere else
  }
  if (++streak_ == kFirstLook || streak_ % kLookEvery == 0) {
    look_at(caller);
  }
}

void CallerFollower::move_to(sys::ProcessorSet processors) {
  if (bound_to_ != processors && allowed_->contains(processors) && processors.apply()) {
    bound_to_ = std::move(processors);
  }
}

void CallerFollower::look_at(pid_t caller) {
  auto of_caller = sys::ProcessorSet::of_thread(caller);
  if (!of_caller) {
    return;
  }
  if (of_caller->count() == 1) {
    move_to(std::move(*of_caller));
  } else if (const auto processor = sys::last_processor(caller)) {
    move_to(sys::ProcessorSet::only(*processor));
  }
}

void CallerFollower::set_free() {
  if (bound_to_ && allowed_->apply()) {
    bound_to_.reset();
  }
}

}  // namespace plyfs::fuse
