// Letting go of files that the host has deleted from a volume.
#pragma once

#include <fuse_lowlevel.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "fuse/dispatch.h"
#include "sys/unique_fd.h"

namespace plyfs::fuse {

/// The kernel remembers inodes until it needs memory, and a node's descriptor keeps its object, and
/// the space on disk, alive. So from time to time nodes without a name left are looked for and the
/// kernel is asked to forget their entries: it does, unless somebody has them open. A thread of its
/// own, since the question waits for the directory's lock, which a request may hold.
class Sweeper {
 public:
  /// `device` is /dev/fuse, and is borrowed.
  Sweeper(Dispatcher& dispatcher, sys::BorrowedFd device);
  ~Sweeper();
  Sweeper(const Sweeper&) = delete;
  Sweeper& operator=(const Sweeper&) = delete;

 private:
  void work();
  void sweep();

  Dispatcher& dispatcher_;
  const sys::BorrowedFd device_;
  std::mutex mu_;  // std's own: a condition variable cannot wait on the annotated Mutex
  std::condition_variable changed_;
  bool stopping_ = false;  // guarded by mu_
  std::thread thread_;
};

}  // namespace plyfs::fuse
