// One connection to the kernel: mounting, worker threads, unmounting.
#pragma once

#include <fuse_lowlevel.h>

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fuse/counters.h"
#include "fuse/dispatch.h"
#include "fuse/ring_shifts.h"
#include "fuse/standbys.h"
#include "plyfs/result.h"
#include "sys/fuse_ring.h"
#include "sys/unique_fd.h"

namespace plyfs::fuse {

class CallerFollower;
class RingPlace;

struct SessionOptions {
  std::string mountpoint;          ///< absolute, or /dev/fd/N of a caller that has mounted
  std::vector<std::string> words;  ///< for mount(2) or fusermount3
  unsigned threads = 2;
  bool follow_callers = true;  ///< fuse/caller_follower
  bool use_rings = true;       ///< FUSE over io_uring, where the kernel offers it
  /// Who answers; libfuse's user data is the Dispatcher. Outlives the session.
  const fuse_lowlevel_ops* operations = &callbacks();
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
  /// Takes the mount off the tree, and serves on until its last user lets go. Called again, ends
  /// serving then and there: what users still have open fails from then on. Async-signal-safe.
  void stop();
  /// Whether the kernel still has the mount, in whatever mount namespace. Between mount() and the
  /// end of serve(); thread-safe.
  [[nodiscard]] bool connected() const;
  /// Whether requests come over io_uring. Known when `ready` is called. Thread-safe.
  [[nodiscard]] bool uses_rings() const { return uses_rings_; }
  /// Whether the kernel reads and writes files of the upper itself. Known like uses_rings().
  [[nodiscard]] bool passes_through() const { return passes_through_; }
  /// Whether opening a file takes a message. Known like uses_rings().
  [[nodiscard]] bool answers_opens() const { return dispatcher_.answer_opens; }
  /// Of the requests served so far. Thread-safe.
  [[nodiscard]] Counters& counters() { return counters_; }

 private:
  Session(SessionOptions options, fuse_session* session, Dispatcher& dispatcher);
  /// kNothing: there is none now. kAgain: try at once.
  enum class Served : std::uint8_t { kRequest, kNothing, kAgain, kEnd };
  Status serve_init();
  /// `follower` may be null.
  Served serve_one(int device, char* buffer, CallerFollower* follower);
  /// Returns how long it took until the reply was ready, in ticks; 0 where there was none.
  std::uint64_t process(char* bytes, std::size_t size);
  /// What a thread that reads requests needs. Made before it starts: then it cannot lack memory.
  struct Worker {
    sys::UniqueFd device;
    std::unique_ptr<char[]> buffer;
    WorkerCounters* counters = nullptr;
  };
  Result<Worker> make_worker();
  /// Replies leave through `device`.
  void begin_thread(int device, WorkerCounters& counters);
  void work_forgets(Worker worker);
  template <typename Start>
  void start_device_workers(const Start& start);
  void work(RingShifts::Shift shift, Worker worker);
  void work_standby(Worker worker);
  void watch_messages();
  bool serve_device(char* buffer, CallerFollower& follower, ShiftWatch& watch);
  /// At INIT. False, and no rings, where io_uring is not to be had.
  bool make_rings();
  struct Ring {
    std::unique_ptr<sys::FuseRing> ring;
    unsigned processor = 0;  ///< whose queue it serves
    std::unique_ptr<RingShifts> shifts = std::make_unique<RingShifts>();
  };
  Status lend_slots(const Ring& ring);
  void work_ring(Ring& ring, RingShifts::Shift shift, WorkerCounters& counters, std::latch& lent);
  bool serve_ring(sys::FuseRing& ring, unsigned processor, RingPlace& place, ShiftWatch& watch);
  /// Makes each worker end after the request at hand; blocks until `running`, which they count
  /// down, is 0.
  void end_workers(std::vector<std::thread>& workers, const std::atomic<unsigned>& running);
  Result<sys::UniqueFd> clone_device();
  /// Detaches the mount, if it is still what the mountpoint shows.
  void unmount();

  const SessionOptions options_;
  fuse_session* session_;
  Dispatcher& dispatcher_;
  Counters counters_;
  sys::UniqueFd device_;                  ///< /dev/fuse, from mount() to the end
  RingShifts device_shifts_;              ///< of the worker that reads from the device
  Standbys standbys_;                     ///< its further threads
  std::atomic<std::uint64_t> served_{0};  ///< requests, by that worker
  std::vector<Ring> rings_;               ///< empty: requests are read from the device
  std::atomic<bool> uses_rings_{false};
  bool long_setxattr_ = false;  ///< from INIT on, before there are workers
  std::atomic<bool> passes_through_{false};
  std::atomic<bool> rings_failed_{false};
  sys::UniqueFd wake_;  ///< eventfd: stop() or a worker's end
  std::atomic<unsigned> stops_{0};
  std::atomic<bool> ending_{false};
  bool mounted_ = false;
  std::optional<std::uint64_t> shown_device_;  ///< st_dev of the mount
};

}  // namespace plyfs::fuse
