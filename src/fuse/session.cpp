#include "fuse/session.h"

#include <linux/fuse.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>

#include "base/log.h"
#include "fuse/caller_follower.h"
#include "fuse/counters.h"
#include "fuse/flusher.h"
#include "fuse/raw_request.h"
#include "fuse/sweeper.h"
#include "sys/creds.h"
#include "sys/fuse_device.h"

namespace plyfs::fuse {
namespace {

constexpr std::size_t kBufferBytes = 1024 * 1024 + 8192;  // the largest WRITE and its headers
constexpr std::uint32_t kWantedInitFlags = FUSE_HANDLE_KILLPRIV_V2;
constexpr std::uint32_t kUnwantedInitFlags = FUSE_HANDLE_KILLPRIV;

long on_writev(int /*fd*/, iovec* parts, int count, void* /*user_data*/) {
  RawRequest& raw = raw_request();
  if (raw.opcode == FUSE_INIT && count >= 2 &&
      parts[1].iov_len >= offsetof(fuse_init_out, flags) + sizeof(std::uint32_t)) {
    // libfuse 3.14 does not know KILLPRIV_V2, without which every write asks for
    // security.capability first.
    auto* reply = static_cast<char*>(parts[1].iov_base) + offsetof(fuse_init_out, flags);
    std::uint32_t flags = 0;
    std::memcpy(&flags, reply, sizeof flags);
    if ((raw.offered_flags & kWantedInitFlags) == kWantedInitFlags) {
      flags = (flags & ~kUnwantedInitFlags) | kWantedInitFlags;
    }
    std::memcpy(reply, &flags, sizeof flags);
    raw.opcode = 0;
  }
  if (count > 0 && parts[0].iov_len >= sizeof(fuse_out_header)) {
    fuse_out_header header{};
    std::memcpy(&header, parts[0].iov_base, sizeof header);
    raw.failed = raw.failed || header.error < 0;
  }
  const long written = sys::write_message(thread_device(), parts, count);
  return written;
}

ssize_t on_read_unused(int /*fd*/, void* /*buffer*/, std::size_t /*size*/, void* /*user_data*/) {
  errno = EOPNOTSUPP;  // our own loop reads
  return -1;
}

template <typename Body>
Body body_of(const char* message, std::size_t size) {
  Body body{};
  if (size > sizeof(fuse_in_header)) {
    std::memcpy(&body, message + sizeof(fuse_in_header),
                std::min(sizeof body, size - sizeof(fuse_in_header)));
  }
  return body;
}

fuse_in_header header_of(const char* message) {
  fuse_in_header header{};
  std::memcpy(&header, message, sizeof header);
  return header;
}

/// Reads what libfuse drops, and turns TMPFILE into a CREATE (same body) marked as unnamed.
void inspect(char* message, std::size_t size) {
  RawRequest raw;
  fuse_in_header header{};
  std::memcpy(&header, message, std::min(size, sizeof header));
  raw.opcode = header.opcode;
  switch (header.opcode) {
    case FUSE_INIT:
      raw.offered_flags = body_of<fuse_init_in>(message, size).flags;
      break;
    case FUSE_WRITE:
      raw.kill_suid_sgid =
          (body_of<fuse_write_in>(message, size).write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
      raw.from_page_cache =
          (body_of<fuse_write_in>(message, size).write_flags & FUSE_WRITE_CACHE) != 0;
      break;
    case FUSE_SETATTR: {
      const std::uint32_t valid =
          body_of<fuse_setattr_in>(message, size).valid & ~std::uint32_t{FATTR_FH};
      raw.kill_suid_sgid = (valid & FATTR_KILL_SUIDGID) != 0;
      raw.times_of_cache = valid == (FATTR_MTIME | FATTR_CTIME);
      break;
    }
    case FUSE_TMPFILE:
      raw.unnamed = true;
      header.opcode = FUSE_CREATE;
      std::memcpy(message, &header, sizeof header);
      break;
    default:
      break;
  }
  raw_request() = raw;
}

}  // namespace

RawRequest& raw_request() {
  thread_local RawRequest request;
  return request;
}

int& thread_device() {
  thread_local int device = -1;
  return device;
}

Session::Session(SessionOptions options, fuse_session* session, Dispatcher& dispatcher)
    : options_(std::move(options)), session_(session), dispatcher_(dispatcher) {}

Session::~Session() {
  if (mounted_) {
    fuse_session_unmount(session_);
  }
  fuse_session_destroy(session_);
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
      fuse_session_new(&args, &callbacks(), sizeof(fuse_lowlevel_ops), &dispatcher);
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
  fuse_custom_io io{};
  io.writev = on_writev;
  io.read = on_read_unused;
  if (fuse_session_custom_io(session_, &io, fuse_session_fd(session_)) != 0) {
    return Errno{EIO};
  }
  return {};
}

Result<sys::UniqueFd> Session::clone_device() {
  return sys::clone_fuse_device(sys::BorrowedFd{fuse_session_fd(session_)});
}

Session::Served Session::serve_one(int device, char* buffer, CallerFollower* follower) {
  const auto got = sys::read_message(sys::BorrowedFd{device}, buffer, kBufferBytes);
  if (!got) {
    const bool again = got.error() == EINTR || got.error() == EAGAIN || got.error() == ENOENT;
    if (!again && got.error() != ENODEV) {
      log::write(log::Level::kError, "reading from /dev/fuse: " + got.error().message());
    }
    return again ? Served::kNothing : Served::kEnd;
  }
  if (*got < sizeof(fuse_in_header)) {
    return Served::kEnd;
  }
  const std::uint64_t began = ticks_now();
  const fuse_in_header header = header_of(buffer);
  if (follower != nullptr) [[likely]] {
    follower->on_request(static_cast<pid_t>(header.pid));
  }
  inspect(buffer, *got);
  fuse_buf message{};
  message.mem = buffer;
  message.size = *got;
  message.fd = -1;
  fuse_session_process_buf(session_, &message);
  if (WorkerCounters* const counters = thread_counters(); counters != nullptr) [[likely]] {
    (*counters)[header.opcode < kOpcodes ? header.opcode : kOpcodes - 1].count(
        ticks_now() - began, raw_request().failed);
  }
  return Served::kRequest;
}

void Session::work(sys::UniqueFd device) {
  sys::detach_thread_fs();
  thread_counters() = &counters_.add_worker();
  thread_device() = device.borrow().get();
  const auto buffer = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  CallerFollower follower{options_.follow_callers};
  while (serve_one(thread_device(), buffer.get(), &follower) != Served::kEnd) {
  }
}

Status Session::serve(const std::function<void()>& ready) {
  // The first message is INIT, and libfuse keeps what it says without a lock.
  {
    const auto buffer = std::make_unique_for_overwrite<char[]>(kBufferBytes);
    thread_device() = fuse_session_fd(session_);
    Served first = Served::kNothing;
    while (first == Served::kNothing) {
      first = serve_one(thread_device(), buffer.get(), nullptr);
    }
    if (first == Served::kEnd) {
      return Errno{ENODEV};
    }
  }
  Flusher flusher{session_};
  dispatcher_.flusher = &flusher;
  std::optional<Sweeper> sweeper;
  if (dispatcher_.live_volumes) {
    sweeper.emplace(dispatcher_);
  }
  std::vector<std::thread> workers;
  std::atomic<unsigned> running{0};
  {
    const sys::BlockSignals blocked;
    for (unsigned i = 0; i < std::max(options_.threads, 1U); ++i) {
      auto device = clone_device();
      if (!device) {
        break;
      }
      running.fetch_add(1);
      workers.emplace_back([this, &running, fd = std::move(*device)]() mutable {
        work(std::move(fd));
        running.fetch_sub(1);
        sys::signal_event(wake_.borrow());
      });
    }
  }
  if (workers.empty()) {
    return Errno{EMFILE};
  }
  ready();
  sys::wait_event(wake_.borrow());
  // Unmounted already, or asked to stop: then the mount is taken off the tree now, and the workers
  // go on until the last user has closed its files.
  if (running.load() == workers.size()) {
    fuse_session_unmount(session_);
    mounted_ = false;
  }
  for (std::thread& worker : workers) {
    worker.join();
  }
  dispatcher_.flusher = nullptr;
  return {};
}

void Session::stop() { sys::signal_event(wake_.borrow()); }

}  // namespace plyfs::fuse
