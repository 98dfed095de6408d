#include "fuse/standbys.h"

namespace plyfs::fuse {

bool Standbys::await() {
  std::unique_lock lock{mu_};
  ++waiting_;
  changed_.wait(lock, [this] { return ended_ || calls_ > 0; });
  --waiting_;
  calls_ -= calls_ > 0 ? 1 : 0;
  return !ended_;
}

void Standbys::call() {
  {
    const std::lock_guard lock{mu_};
    calls_ += calls_ < waiting_ ? 1 : 0;
  }
  changed_.notify_all();  // who pauses waits for it, too
}

bool Standbys::pause(std::chrono::milliseconds time) {
  std::unique_lock lock{mu_};
  return !changed_.wait_for(lock, time, [this] { return ended_; });
}

void Standbys::end() {
  {
    const std::lock_guard lock{mu_};
    ended_ = true;
  }
  changed_.notify_all();
}

}  // namespace plyfs::fuse
