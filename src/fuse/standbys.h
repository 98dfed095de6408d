// Workers that are called when a message waits although another worker serves.
//
// Several threads that sleep in read(2) on /dev/fuse are woken in turn, each time on another, idle
// processor: one caller's requests then take several times as long. So one worker reads, and keeps
// its caller's processor warm. It may be held up, by a disk or by others' requests: then one of
// these comes, and stays for as long as there is something to do (D-052).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace plyfs::fuse {

/// Thread-safe.
class Standbys {
 public:
  /// Blocks until this thread is called. False at the end.
  bool await();
  /// Wakes one of those that wait, if there is one.
  void call();
  /// Sleeps, at most until the end. False at the end.
  bool pause(std::chrono::milliseconds time);
  /// No more calls: await() and pause() return false.
  void end();

 private:
  // std's own: a condition variable cannot wait on the annotated Mutex.
  std::mutex mu_;
  std::condition_variable changed_;
  std::uint32_t waiting_ = 0;  // guarded by mu_
  std::uint32_t calls_ = 0;    // guarded by mu_; never more than `waiting_`
  bool ended_ = false;         // guarded by mu_
};

}  // namespace plyfs::fuse
