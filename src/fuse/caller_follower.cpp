#include "fuse/caller_follower.h"

#include <utility>

namespace plyfs::fuse {
namespace {

// Of several callers at once none has so many requests in a row; one alone soon has.
constexpr std::uint32_t kFirstLook = 8;
// The caller may be bound elsewhere while it works.
constexpr std::uint32_t kLookEvery = 256;

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
  }
  if (++streak_ == kFirstLook || streak_ % kLookEvery == 0) {
    look_at(caller);
  }
}

void CallerFollower::look_at(pid_t caller) {
  auto of_caller = sys::ProcessorSet::of_thread(caller);
  if (!of_caller) {
    return;
  }
  if (of_caller->count() == 1 && allowed_->contains(*of_caller)) {
    if (bound_to_ != *of_caller && of_caller->apply()) {
      bound_to_ = std::move(*of_caller);
    }
  } else if (bound_to_ && allowed_->apply()) {
    bound_to_.reset();
  }
}

}  // namespace plyfs::fuse
