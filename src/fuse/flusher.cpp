#include "fuse/flusher.h"

#include <utility>

#include "sys/creds.h"
#include "sys/fuse_device.h"

namespace plyfs::fuse {

Flusher::Flusher(fuse_session* session) : session_(session) {
  const sys::BlockSignals blocked;
  thread_ = std::thread{[this] { work(); }};
}

Flusher::~Flusher() { finish(); }

void Flusher::finish() {
  {
    const std::lock_guard lock{mu_};
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Flusher::after_writeback(fuse_ino_t id, std::function<void()> answer) {
  std::unique_lock lock{mu_};
  if (stopping_) {
    lock.unlock();
    return answer();
  }
  ReplyPath path = reply_path();
  path.own_ring = false;
  jobs_.push_back({id, path, std::move(answer)});
  lock.unlock();
  changed_.notify_one();
}

void Flusher::work() {
  sys::detach_thread_fs();
  for (;;) {
    Job job;
    {
      std::unique_lock lock{mu_};
      changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) {
        return;
      }
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    reply_path() = job.path;
    // Dropping the pages writes back the dirty ones first; there is no notification that only
    // writes. ENOENT: the kernel has no such pages any more.
    (void)fuse_lowlevel_notify_inval_inode(session_, job.id, 0, 0);
    job.answer();
  }
}

}  // namespace plyfs::fuse
