#include "sys/fuse_device.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace plyfs::sys {
namespace {

// From linux/fuse.h of Linux 6.9; Debian 12 has an older one.
struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, std::uint32_t);

#if defined(__SANITIZE_THREAD__)
constexpr bool kWatchedThreads = true;
#elif defined(__has_feature)
constexpr bool kWatchedThreads = __has_feature(thread_sanitizer);
#else
constexpr bool kWatchedThreads = false;
#endif

}  // namespace

Result<UniqueFd> clone_fuse_device(BorrowedFd device) {
  UniqueFd clone{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
  std::uint32_t of = static_cast<std::uint32_t>(device.get());
  if (clone.valid() && ::ioctl(clone.borrow().get(), FUSE_DEV_IOC_CLONE, &of) == 0) {
    return clone;
  }
  // Without a clone the workers share one queue.
  UniqueFd same{::fcntl(device.get(), F_DUPFD_CLOEXEC, 0)};
  if (!same.valid()) {
    return Errno{errno};
  }
  return same;
}

// These three are made for every message. As system calls they are no points of cancellation: that
// would be two atomic operations each time in a program with threads, and nobody here is cancelled.
// ThreadSanitizer learns from the library's functions that a reply comes before what follows it.
Result<std::size_t> read_message(BorrowedFd device, void* buffer, std::size_t size_bytes) {
  const long got = kWatchedThreads ? ::read(device.get(), buffer, size_bytes)
                                   : ::syscall(SYS_read, device.get(), buffer, size_bytes);
  if (got < 0) {
    return Errno{errno};
  }
  return static_cast<std::size_t>(got);
}

Result<std::int32_t> lend_backing_file(BorrowedFd device, BorrowedFd file) {
  const BackingMap map{file.get(), 0, 0};
  const int number = ::ioctl(device.get(), kBackingOpen, &map);
  if (number <= 0) {
    return Errno{number == 0 ? EINVAL : errno};
  }
  return number;
}

void return_backing_file(BorrowedFd device, std::int32_t number) {
  const auto id = static_cast<std::uint32_t>(number);
  (void)::ioctl(device.get(), kBackingClose, &id);
}

void make_ended(BorrowedFd device) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return;
  }
  ::close(ends[0]);  // nobody can read what is written to the other
  (void)::dup3(ends[1], device.get(), O_CLOEXEC);
  ::close(ends[1]);
}

Status do_not_sleep(BorrowedFd device) {
  const int flags = ::fcntl(device.get(), F_GETFL);
  if (flags < 0 || ::fcntl(device.get(), F_SETFL, flags | O_NONBLOCK) != 0) {
    return Errno{errno};
  }
  return {};
}

Messages messages_on(BorrowedFd device, bool wait) {
  pollfd asked{device.get(), POLLIN, 0};
  if (::poll(&asked, 1, wait ? -1 : 0) <= 0) {
    return Messages::kNone;
  }
  return (asked.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0 ? Messages::kEnded
                                                               : Messages::kWaiting;
}

long write_message(int device, const iovec* parts, int count) {
  return kWatchedThreads ? ::writev(device, parts, count)
                         : ::syscall(SYS_writev, device, parts, count);
}

long write_message(int device, const void* message, std::size_t size_bytes) {
  return kWatchedThreads ? ::write(device, message, size_bytes)
                         : ::syscall(SYS_write, device, message, size_bytes);
}

Result<UniqueFd> make_event() {
  UniqueFd event{::eventfd(0, EFD_CLOEXEC)};
  if (!event.valid()) {
    return Errno{errno};
  }
  return event;
}

void signal_event(BorrowedFd event) {
  const int saved = errno;
  const std::uint64_t one = 1;
  (void)!::write(event.get(), &one, sizeof one);
  errno = saved;
}

void wait_event(BorrowedFd event) {
  std::uint64_t value = 0;
  while (::read(event.get(), &value, sizeof value) < 0 && errno == EINTR) {
  }
}

void wait_event(BorrowedFd event, int timeout_ms) {
  pollfd wait = {event.get(), POLLIN, 0};
  if (::poll(&wait, 1, timeout_ms) > 0) {
    wait_event(event);
  }
}

void interrupt_thread(pthread_t thread) {
  struct sigaction wake = {};  // without SA_RESTART
  wake.sa_handler = [](int) {};
  (void)::sigaction(SIGRTMIN, &wake, nullptr);
  (void)::pthread_kill(thread, SIGRTMIN);
}

Result<std::uint64_t> device_at(const std::string& path) {
  struct ::statx found {};
  if (::statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &found) != 0) {
    return Errno{errno};
  }
  return gnu_dev_makedev(found.stx_dev_major, found.stx_dev_minor);
}

Result<std::string> absolute_path(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) {
    return Errno{errno};
  }
  return std::string{resolved};
}

BlockSignals::BlockSignals() {
  static_assert(sizeof(sigset_t) <= sizeof saved_);
  sigset_t blocked;
  ::sigfillset(&blocked);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGRTMIN}) {
    ::sigdelset(&blocked, signal);
  }
  (void)::pthread_sigmask(SIG_BLOCK, &blocked, new (saved_) sigset_t);
}

BlockSignals::~BlockSignals() {
  (void)::pthread_sigmask(SIG_SETMASK, reinterpret_cast<const sigset_t*>(saved_), nullptr);
}

}  // namespace plyfs::sys
