// One connection to the kernel: mounting, worker threads, unmounting.
#pragma once

#include <fuse_lowlevel.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fuse/counters.h"
#include "fuse/dispatch.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::fuse {

class CallerFollower;

struct SessionOptions {
  std::string mountpoint;          ///< absolute, or /dev/fd/N of a caller that has mounted
  std::vector<std::string> words;  ///< for mount(2) or fusermount3
  unsigned threads = 2;
  bool follow_callers = true;  ///< fuse/caller_follower
};

/// libfuse's session with our own loop: each worker has its own clone of /dev/fuse, and what
/// libfuse 3.14 lacks (KILLPRIV_V2, TMPFILE) is read from and written to the messages themselves.
class Session {
 public:
  static Result<std::unique_ptr<Session>> make(SessionOptions options, Dispatcher& dispatcher);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// mount(2), or fusermount3 where that is not allowed. Messages of libfuse go to stderr.
  Status mount();
  /// Serves until unmounted or stop(). `ready` is called when workers serve: what it does may use
  /// the mount.
  Status serve(const std::function<void()>& ready);
  /// Async-signal-safe.
  void stop();
  /// Of the requests served so far. Thread-safe.
  [[nodiscard]] Counters& counters() { return counters_; }

 private:
  Session(SessionOptions options, fuse_session* session, Dispatcher& dispatcher);
  enum class Served : std::uint8_t { kRequest, kNothing, kEnd };
  /// `follower` may be null.
  Served serve_one(int device, char* buffer, CallerFollower* follower);
  void work(sys::UniqueFd device);
  Result<sys::UniqueFd> clone_device();

  const SessionOptions options_;
  fuse_session* session_;
  Dispatcher& dispatcher_;
  Counters counters_;
  sys::UniqueFd wake_;  ///< eventfd: stop() or the last worker's end
  bool mounted_ = false;
};

}  // namespace plyfs::fuse
