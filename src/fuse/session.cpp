#include "fuse/session.h"

#include <linux/fuse.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "base/log.h"
#include "fuse/backed_files.h"
#include "fuse/caller_follower.h"
#include "fuse/counters.h"
#include "fuse/flusher.h"
#include "fuse/raw_request.h"
#include "fuse/serve.h"
#include "fuse/sweeper.h"
#include "fuse/wire.h"
#include "sys/backing_device.h"
#include "sys/creds.h"
#include "sys/fuse_device.h"
#include "sys/scheduling.h"

namespace plyfs::fuse {
namespace {

constexpr std::size_t kBufferBytes = 1024 * 1024 + 8192;  // the largest WRITE and its headers
constexpr std::size_t kPayloadBytes = 1024 * 1024;        // of a ring's slot: the largest WRITE
constexpr std::chrono::milliseconds kForgetsGather{5};
// A standby is called when a message waited at each of so many looks in a row.
constexpr std::chrono::milliseconds kBetweenQueueLooks{4};
constexpr unsigned kWaitingLooks = 2;
constexpr unsigned kStillLooks = 50;      // then the burst is over
constexpr unsigned kManyProcessors = 16;  // from here on one ring for each is enough

/// A small reply in one piece: the kernel looks up the page of each piece.
long write_reply(int device, const iovec* parts, int count) {
  constexpr std::size_t kSmall = 512;
  alignas(kSmall) char whole[kSmall];
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) {
    if (parts[i].iov_len > kSmall - size) {
      return sys::write_message(device, parts, count);
    }
    std::memcpy(whole + size, parts[i].iov_base, parts[i].iov_len);
    size += parts[i].iov_len;
  }
  return sys::write_message(device, whole, size);
}

long on_writev(int /*fd*/, iovec* parts, int count, void* /*user_data*/) {
  RawRequest& raw = raw_request();
  if (raw.opcode == FUSE_INIT && count >= 2) {
    accept_more(raw, parts[1]);
    raw.opcode = 0;
  }
  fuse_out_header header{};
  if (count > 0 && parts[0].iov_len >= sizeof header) {
    std::memcpy(&header, parts[0].iov_base, sizeof header);
    raw.failed = raw.failed || header.error < 0;
  }
  ReplyPath& path = reply_path();
  const bool notification = header.unique == 0;
  if (!notification) {
    // Before it wakes the caller, who may go first.
    raw.answered_ticks = ticks_now();
  }
  if (raw.backing != 0 && !notification && header.error == 0 && count >= 2) {
    name_backing(raw.backing, parts[1]);
  }
  if (!notification && header.unique != path.unique) {
    // Whoever's it is, it must not become the answer to the request at hand. The kernel knows no
    // such request here, and says so.
    log::write(log::Level::kError, "a reply to another request");
    return write_reply(path.device, parts, count);
  }
  if (path.slot == nullptr || notification) {
    return write_reply(path.device, parts, count);
  }
  return path.ring->reply(*std::exchange(path.slot, nullptr), parts, count, path.own_ring);
}

ssize_t on_read_unused(int /*fd*/, void* /*buffer*/, std::size_t /*size*/, void* /*user_data*/) {
  errno = EOPNOTSUPP;  // our own loop reads
  return -1;
}

/// `serve` returns true when its shift is over, false at the end.
template <typename Serve>
void take_turns(RingShifts& shifts, RingShifts::Shift shift, ShiftWatch& watch,
                const Serve& serve) {
  while (shifts.await(shift)) {
    watch.begin();
    if (serve()) {
      shifts.hand_over();
    } else {
      shifts.end();
    }
  }
}

}  // namespace

RawRequest& raw_request() {
  thread_local RawRequest request;
  return request;
}

ReplyPath& reply_path() {
  thread_local ReplyPath path;
  return path;
}

Session::Session(SessionOptions options, fuse_session* session, Dispatcher& dispatcher)
    : options_(std::move(options)), session_(session), dispatcher_(dispatcher) {}

Session::~Session() {
  unmount();
  if (mounted_) {
    sys::make_ended(sys::BorrowedFd{fuse_session_fd(session_)});
    fuse_session_unmount(session_);
  }
  fuse_session_destroy(session_);
}

bool Session::connected() const {
  return sys::messages_on(device_.borrow(), false) != sys::Messages::kEnded;
}

void Session::unmount() {
  if (!mounted_) {
    return;
  }
  // A user may have detached us, and mounted something else there since. Of a connection that has
  // ended libfuse unmounts nothing, and frees what it keeps.
  const auto shown = sys::device_at(options_.mountpoint);
  if (!connected() || !shown_device_ || !shown || *shown == *shown_device_) {
    fuse_session_unmount(session_);
    mounted_ = false;
  }
}

Result<std::unique_ptr<Session>> Session::make(SessionOptions options, Dispatcher& dispatcher) {
  std::string words = "default_permissions";
  for (const std::string& word : options.words) {
    words += ',' + word;
  }
  std::string program = "plyfs";
  std::string flag = "-o";
  char* arguments[] = {program.data(), flag.data(), words.data(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, arguments);
  fuse_session* session =
      fuse_session_new(&args, options.operations, sizeof(fuse_lowlevel_ops), &dispatcher);
  fuse_opt_free_args(&args);
  if (session == nullptr) {
    return Errno{EINVAL};
  }
  std::unique_ptr<Session> made{new Session{std::move(options), session, dispatcher}};
  dispatcher.session = session;
  made->wake_ = TRY(sys::make_event());
  return made;
}

Status Session::mount() {
  errno = 0;
  if (fuse_session_mount(session_, options_.mountpoint.c_str()) != 0) {
    return Errno{errno == 0 ? EPERM : errno};
  }
  mounted_ = true;
  if (const auto shown = sys::device_at(options_.mountpoint)) {
    shown_device_ = *shown;
  }
  fuse_custom_io io{};
  io.writev = on_writev;
  io.read = on_read_unused;
  if (fuse_session_custom_io(session_, &io, fuse_session_fd(session_)) != 0) {
    return Errno{EIO};
  }
  // libfuse closes its own when it unmounts, and users may go on for long after.
  device_ = TRY(sys::clone_fuse_device(sys::BorrowedFd{fuse_session_fd(session_)}));
  if (dispatcher_.backed_files != nullptr) {
    dispatcher_.backed_files->set_device(device_.borrow());
  }
  return {};
}

Result<sys::UniqueFd> Session::clone_device() { return sys::clone_fuse_device(device_.borrow()); }

Session::Served Session::serve_one(int device, char* buffer, CallerFollower* follower) {
  const auto got = sys::read_message(sys::BorrowedFd{device}, buffer, kBufferBytes);
  if (!got) {
    if (got.error() == EAGAIN) {
      return Served::kNothing;
    }
    const bool again = got.error() == EINTR || got.error() == ENOENT;
    if (!again && got.error() != ENODEV) {
      log::write(log::Level::kError, "reading from /dev/fuse: " + got.error().message());
    }
    return again ? Served::kAgain : Served::kEnd;
  }
  if (*got < sizeof(fuse_in_header)) {
    return Served::kEnd;
  }
  if (follower != nullptr) [[likely]] {
    follower->on_request(static_cast<pid_t>(header_of(buffer).pid));
    follower->on_reply(process(buffer, *got));
    return Served::kRequest;
  }
  (void)process(buffer, *got);
  return Served::kRequest;
}

std::uint64_t Session::process(char* bytes, std::size_t size) {
  const std::uint64_t began = ticks_now();
  const std::uint32_t opcode = header_of(bytes).opcode;
  if (opcode == FUSE_INTERRUPT) {
    // Not for libfuse, which would answer it later, from whichever thread serves a request then.
    // No request of ours waits for what an interruption could end; the kernel expects no answer.
    return 0;
  }
  std::span<char> message_bytes{bytes, size};
  raw_request() = inspect(message_bytes, long_setxattr_);
  reply_path().unique = raw_request().unique;
  if (opcode == FUSE_INIT) {
    long_setxattr_ = (raw_request().offered_flags & FUSE_SETXATTR_EXT) != 0;
    raw_request().use_rings = (raw_request().offered_flags & kOverIoUring) != 0 && make_rings();
  }
  fuse_buf message{};
  message.mem = message_bytes.data();
  message.size = message_bytes.size();
  message.fd = -1;
  fuse_session_process_buf(session_, &message);
  const RawRequest& raw = raw_request();
  const bool answered = raw.answered_ticks > began;
  if (WorkerCounters* const counters = thread_counters(); counters != nullptr) [[likely]] {
    const std::uint64_t ended = answered ? raw.answered_ticks : ticks_now();
    (*counters)[opcode < kOpcodes ? opcode : kOpcodes - 1].count(ended - began, raw.failed);
  }
  return answered ? raw.answered_ticks - began : 0;
}

Result<Session::Worker> Session::make_worker() {
  Worker worker;
  worker.device = TRY(clone_device());
  worker.buffer = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  worker.counters = &counters_.add_worker();
  return worker;
}

void Session::begin_thread(int device, WorkerCounters& counters) {
  sys::detach_thread_fs();
  (void)thread_buffer(0);  // glibc ends the process if it is first wanted when memory has run out
  thread_counters() = &counters;
  reply_path().device = device;
}

void Session::work_forgets(Worker worker) {
  begin_thread(worker.device.borrow().get(), *worker.counters);
  char* const buffer = worker.buffer.get();
  Served served = Served::kAgain;
  while (served != Served::kEnd && !ending_.load(std::memory_order_relaxed)) {
    served = serve_one(reply_path().device, buffer, nullptr);
    if (served == Served::kRequest && is_forget(header_of(buffer).opcode)) {
      // Nobody waits for these. While we do not, the caller's kernel has nobody to wake.
      std::this_thread::sleep_for(kForgetsGather);
    }
  }
}

void Session::work(RingShifts::Shift shift, Worker worker) {
  RingShifts& shifts = device_shifts_;
  using enum RingShifts::Shift;
  begin_thread(worker.device.borrow().get(), *worker.counters);
  const bool follow = options_.follow_callers;
  if (shift == kYielding && (!follow || !sys::yield_to_everybody())) {
    shifts.hand_over();
  }
  CallerFollower follower{follow};
  ShiftWatch watch{follow ? std::optional{shift} : std::nullopt};
  take_turns(shifts, shift, watch, [&] {
    const bool goes_on = serve_device(worker.buffer.get(), follower, watch);
    follower.set_free();
    return goes_on;
  });
}

/// The same for the messages of the device: true when the shift is over.
bool Session::serve_device(char* buffer, CallerFollower& follower, ShiftWatch& watch) {
  Served served = Served::kAgain;
  while (served != Served::kEnd && !ending_.load(std::memory_order_relaxed)) {
    served = serve_one(reply_path().device, buffer, &follower);
    if (served == Served::kRequest) {
      served_.fetch_add(1, std::memory_order_relaxed);
      if (watch.is_over()) {
        return true;
      }
    } else if (served == Served::kNothing) {
      // Where the device cannot be cloned, ours is the standbys' as well, and does not sleep.
      (void)sys::messages_on(device_.borrow(), true);
    }
  }
  standbys_.end();
  return false;
}

void Session::work_standby(Worker worker) {
  begin_thread(worker.device.borrow().get(), *worker.counters);
  while (standbys_.await()) {
    Served served = Served::kAgain;
    while ((served == Served::kAgain || served == Served::kRequest) &&
           !ending_.load(std::memory_order_relaxed)) {
      served = serve_one(reply_path().device, worker.buffer.get(), nullptr);
    }
  }
}

void Session::watch_messages() {
  using enum sys::Messages;
  std::uint64_t before = 0;
  // Between bursts nobody looks; the first message of one wakes us.
  while (!ending_.load(std::memory_order_relaxed) &&
         sys::messages_on(device_.borrow(), true) != kEnded) {
    unsigned waiting = 0;
    for (unsigned still = 0; still < kStillLooks;) {
      if (!standbys_.pause(kBetweenQueueLooks)) {
        return;
      }
      const bool waits = sys::messages_on(device_.borrow(), false) == kWaiting;
      waiting = waits ? waiting + 1 : 0;
      if (waiting == kWaitingLooks) {
        standbys_.call();
        waiting = 0;
      }
      const std::uint64_t now = served_.load(std::memory_order_relaxed);
      still = now == before && !waits ? still + 1 : 0;
      before = now;
    }
  }
  standbys_.end();
}

bool Session::make_rings() {
  if (!options_.use_rings) {
    return false;
  }
  // The kernel waits for all queues before it sends the first request: what can fail does so now.
  const std::vector<unsigned> processors = sys::online_processors();
  const std::size_t each = processors.size() >= kManyProcessors ? 1 : 2;
  for (std::size_t i = 0; i < processors.size() * each; ++i) {
    auto ring = sys::FuseRing::make(kPayloadBytes);
    if (!ring) {
      log::write(log::Level::kInfo, "no io_uring: " + ring.error().message());
      rings_.clear();
      return false;
    }
    rings_.push_back({std::move(*ring), processors[i % processors.size()]});
  }
  uses_rings_ = true;
  return true;
}

Status Session::lend_slots(const Ring& ring) {
  const sys::BorrowedFd device = device_.borrow();
  TRY(ring.ring->lend_slot(device, ring.processor));
  if (&ring == rings_.data()) {
    // Queues of processors that are not there (yet): the kernel wants something in each.
    const std::vector<unsigned> online = sys::online_processors();
    const unsigned possible = sys::possible_processors();
    for (unsigned queue = 0; queue < possible; ++queue) {
      if (!std::binary_search(online.begin(), online.end(), queue)) {
        TRY(ring.ring->lend_slot(device, queue));
      }
    }
  }
  return ring.ring->hand_over();
}

void Session::work_ring(Ring& ring, RingShifts::Shift shift, WorkerCounters& counters,
                        std::latch& lent) {
  using enum RingShifts::Shift;
  begin_thread(device_.borrow().get(), counters);
  RingPlace place{ring.processor, options_.follow_callers};
  if (shift == kYielding) {
    const Status ready = lend_slots(ring);
    // Unmounted already: ENOTCONN, or ECONNABORTED on the way there.
    if (!ready && ready.error() != ENOTCONN && ready.error() != ECONNABORTED) {
      log::write(log::Level::kError, "io_uring: " + ready.error().message());
      rings_failed_ = true;
    }
    lent.count_down();
    if (!ready) {
      ring.shifts->end();
    } else if (!options_.follow_callers || !sys::yield_to_everybody()) {
      ring.shifts->hand_over();
    }
  }
  reply_path().ring = ring.ring.get();
  ShiftWatch watch{options_.follow_callers ? std::optional{shift} : std::nullopt};
  take_turns(*ring.shifts, shift, watch,
             [&] { return serve_ring(*ring.ring, ring.processor, place, watch); });
}

/// Returns true when the shift is over, false at the end of the connection, or of our serving it.
bool Session::serve_ring(sys::FuseRing& ring, unsigned processor, RingPlace& place,
                         ShiftWatch& watch) {
  ReplyPath& path = reply_path();
  while (!ending_.load(std::memory_order_relaxed)) {
    const auto slot = ring.wait();
    if (!slot) {
      if (slot.error() != ENOTCONN) {
        log::write(log::Level::kError, "waiting for requests: " + slot.error().message());
      }
      return false;
    }
    if (*slot == nullptr) {
      continue;
    }
    path.slot = *slot;
    const std::uint64_t service = process((*slot)->message(), (*slot)->size());
    if (path.slot != nullptr) {
      // It is answered later, by the flusher, which needs us to serve others meanwhile.
      path.slot = nullptr;
      (void)ring.lend_slot(sys::BorrowedFd{path.device}, processor);
      continue;
    }
    place.on_reply(service);
    if (watch.is_over()) {
      return true;
    }
  }
  (void)ring.hand_over();  // the last reply
  return false;
}

/// One worker, which is two threads that take turns, and its standbys.
template <typename Start>
void Session::start_device_workers(const Start& start) {
  using enum RingShifts::Shift;
  auto yielding = make_worker();
  auto ordinary = make_worker();
  if (!yielding || !ordinary) {
    return;  // each of the two counts on the other
  }
  start([this, worker = std::move(*yielding)]() mutable { work(kYielding, std::move(worker)); });
  start([this, worker = std::move(*ordinary)]() mutable { work(kOrdinary, std::move(worker)); });
  if (options_.threads < 2) {
    return;
  }
  start([this] { watch_messages(); });
  for (unsigned i = 1; i < options_.threads; ++i) {
    auto made = make_worker();
    if (!made || !sys::do_not_sleep(made->device.borrow())) {
      return;
    }
    start([this, worker = std::move(*made)]() mutable { work_standby(std::move(worker)); });
  }
}

/// The first message is INIT, and libfuse keeps what it says without a lock: before there are
/// workers.
Status Session::serve_init() {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  reply_path().device = device_.borrow().get();
  Served first = Served::kAgain;
  while (first == Served::kAgain || first == Served::kNothing) {
    first = serve_one(reply_path().device, buffer.get(), nullptr);
  }
  if (first == Served::kEnd) {
    return Errno{ENODEV};
  }
  passes_through_ = dispatcher_.backed_files != nullptr;
  if (shown_device_) {
    sys::widen_page_cache(*shown_device_);  // not sooner: INIT makes it the kernel's own
  }
  return {};
}

Status Session::serve(const std::function<void()>& ready) {
  TRY(serve_init());
  Flusher flusher{session_};
  dispatcher_.flusher = &flusher;
  std::optional<Sweeper> sweeper;
  if (dispatcher_.live_volumes) {
    sweeper.emplace(dispatcher_, device_.borrow());
  }
  std::vector<std::thread> workers;
  std::atomic<unsigned> running{0};
  std::latch lent{static_cast<std::ptrdiff_t>(rings_.size())};
  const auto start = [&](auto body) {
    running.fetch_add(1);
    workers.emplace_back([this, &running, body = std::move(body)]() mutable {
      try {
        body();
      } catch (const std::exception& failure) {
        // Requests have a fence of their own. Without this thread nobody may serve: the mount ends.
        report("a worker", failure.what());
        stop();
      }
      running.fetch_sub(1);
      sys::signal_event(wake_.borrow());
    });
  };
  {
    const sys::BlockSignals blocked;
    if (!rings_.empty()) {
      // Only FORGET and INTERRUPT are read from the device.
      if (auto made = make_worker()) {
        start([this, worker = std::move(*made)]() mutable { work_forgets(std::move(worker)); });
      }
    } else {
      start_device_workers(start);
    }
    for (Ring& ring : rings_) {
      for (const auto shift : {RingShifts::Shift::kYielding, RingShifts::Shift::kOrdinary}) {
        start([this, &ring, shift, &counters = counters_.add_worker(), &lent] {
          work_ring(ring, shift, counters, lent);
        });
      }
    }
  }
  if (workers.empty()) {
    return Errno{EMFILE};
  }
  lent.wait();
  if (rings_failed_) {
    stop();
  } else {
    ready();
  }
  sys::wait_event(wake_.borrow());
  // Unmounted already, or asked to stop: then the mount is taken off the tree now, and the workers
  // go on until the last user has closed its files.
  if (running.load() == workers.size() || rings_failed_) {
    unmount();
  }
  while (running.load() > 0 && stops_.load() < 2) {
    sys::wait_event(wake_.borrow());
  }
  if (running.load() > 0) {
    // These two wait for the kernel, which may wait for requests that workers serve.
    sweeper.reset();
    flusher.finish();
    end_workers(workers, running);
  }
  for (std::thread& worker : workers) {
    worker.join();
  }
  dispatcher_.flusher = nullptr;
  return rings_failed_ ? Status{Errno{EIO}} : Status{};
}

void Session::end_workers(std::vector<std::thread>& workers, const std::atomic<unsigned>& running) {
  constexpr int kAgain_ms = 10;
  ending_ = true;
  // Who is just about to wait is not woken: hence again until all have ended.
  while (running.load() > 0) {
    for (std::thread& worker : workers) {
      sys::interrupt_thread(worker.native_handle());
    }
    sys::wait_event(wake_.borrow(), kAgain_ms);
  }
}

void Session::stop() {
  stops_.fetch_add(1);
  sys::signal_event(wake_.borrow());
}

}  // namespace plyfs::fuse
