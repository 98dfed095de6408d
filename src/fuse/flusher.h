// Asking the kernel to write back a file's dirty pages before a request is answered.
#pragma once

#include <fuse_lowlevel.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "fuse/raw_request.h"

namespace plyfs::fuse {

/// A thread of its own: the kernel's writeback comes as WRITE requests, so no worker may wait for
/// it. Thread-safe. Destroyed after the workers.
class Flusher {
 public:
  explicit Flusher(fuse_session* session);
  ~Flusher();
  Flusher(const Flusher&) = delete;
  Flusher& operator=(const Flusher&) = delete;

  /// Runs `answer` once no dirty page of the inode is left. The reply leaves by the calling
  /// thread's path, which that thread must not use for this request any more.
  /// Once finish() was called `answer` runs at once, and pages may be left.
  void after_writeback(fuse_ino_t id, std::function<void()> answer);
  /// Answers what is queued, and ends the thread. While workers still serve, or the connection is
  /// gone: otherwise the kernel's writeback would never end. By one thread.
  void finish();

 private:
  struct Job {
    fuse_ino_t id;
    ReplyPath path;
    std::function<void()> answer;
  };
  void work();

  fuse_session* session_;
  // std's own: a condition variable cannot wait on the annotated Mutex.
  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;   // guarded by mu_
  bool stopping_ = false;  // guarded by mu_
  std::thread thread_;
};

}  // namespace plyfs::fuse
