// The calls that only a FUSE server makes.
#pragma once

#include <pthread.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// A further queue on the connection of `device`: requests read from it are answered through it.
Result<UniqueFd> clone_fuse_device(BorrowedFd device);
/// One message. ENODEV when unmounted; ENOENT, EINTR and EAGAIN mean: try again.
Result<std::size_t> read_message(BorrowedFd device, void* buffer, std::size_t size_bytes);
/// Names `file` to the kernel, which then reads and writes it for files that are opened with the
/// number returned (FUSE_DEV_IOC_BACKING_OPEN, Linux 6.9), with the rights that the calling thread
/// has now. The descriptor may be closed after that. EPERM without CAP_SYS_ADMIN in the initial
/// user namespace; ELOOP where `file` lies on a filesystem that is stacked itself.
Result<std::int32_t> lend_backing_file(BorrowedFd device, BorrowedFd file);
/// Files that are open with it keep it.
void return_backing_file(BorrowedFd device, std::int32_t number);
/// From now on `device` looks like that of a mount which is gone (poll(2): POLLERR): libfuse then
/// unmounts nothing, and still frees what it keeps of the mount.
void make_ended(BorrowedFd device);
/// read_message() on `device` says EAGAIN instead of sleeping.
Status do_not_sleep(BorrowedFd device);
enum class Messages : std::uint8_t { kNone, kWaiting, kEnded };
/// Whether a message waits to be read. With `wait` returns when one does, or after a signal.
/// kEnded: unmounted.
Messages messages_on(BorrowedFd device, bool wait);
long write_message(int device, const iovec* parts, int count);
long write_message(int device, const void* message, std::size_t size_bytes);
Result<UniqueFd> make_event();
/// Async-signal-safe.
void signal_event(BorrowedFd event);
void wait_event(BorrowedFd event);
/// At most so long.
void wait_event(BorrowedFd event, int timeout_ms);
/// Makes the system call in which `thread` sleeps fail with EINTR. By a real-time signal, which
/// gets a handler that does nothing.
void interrupt_thread(pthread_t thread);
/// st_dev of what a path shows, without asking its filesystem (which may be ourselves).
Result<std::uint64_t> device_at(const std::string& path);
/// realpath(3).
Result<std::string> absolute_path(const std::string& path);
/// Blocks signals in threads started from now on by the calling thread: main's handlers run in its
/// own thread. Not those by which the kernel tells of a thread's own fault.
class BlockSignals {
 public:
  BlockSignals();
  ~BlockSignals();
  BlockSignals(const BlockSignals&) = delete;
  BlockSignals& operator=(const BlockSignals&) = delete;

 private:
  alignas(8) unsigned char saved_[128];
};

}  // namespace plyfs::sys
