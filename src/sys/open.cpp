#include "sys/open.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/object_stat.h"
#include "sys/proc_path.h"

namespace plyfs::sys {
namespace {

Result<UniqueFd> owned(int fd) {
  if (fd < 0) {
    return Errno{errno};
  }
  return UniqueFd{fd};
}

constexpr int kDirectory = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

/// For kernels and sandboxes without openat2(2).
Result<UniqueFd> refuse_mount(UniqueFd opened) {
  const bool mounted = TRY(stat_object({opened.borrow(), ""})).mount_root;
  return mounted ? Result<UniqueFd>{Errno{EXDEV}} : std::move(opened);
}

Result<UniqueFd> open_directory_with(BorrowedFd dir, const char* name, int flags, Mounts mounts) {
  if (mounts == Mounts::kEnter) {
    return owned(::openat(dir.get(), name, flags | kDirectory));
  }
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | kDirectory);
  how.resolve = RESOLVE_NO_XDEV;
  const long opened = ::syscall(SYS_openat2, dir.get(), name, &how, sizeof how);
  // EPERM: O_NOATIME on what belongs to somebody else, or a seccomp filter older than the call.
  if (opened >= 0 || (errno != ENOSYS && errno != EPERM)) {
    return owned(static_cast<int>(opened));
  }
  return refuse_mount(TRY(owned(::openat(dir.get(), name, flags | kDirectory))));
}

Result<UniqueFd> open_listing_with(ObjectRef directory, int flag, Mounts mounts) {
  const char* name = directory.by_fd() ? "." : directory.name;
  return open_directory_with(directory.dir, name, flag | O_RDONLY, mounts);
}

Result<UniqueFd> open_file_with(ObjectRef object, int mode) {
  // O_NONBLOCK: a fifo that took the file's place on the host must not hang a worker.
  const int flags = mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  if (object.by_fd()) {
    return owned(::open(ProcPath{object}.c_str(), flags));
  }
  return owned(::openat(object.dir.get(), object.name, flags | O_NOFOLLOW));
}

/// Calls `open` with O_NOATIME, and with 0 where that is refused.
template <typename Open>
Result<UniqueFd> quietly(QuietReads* known, const Open& open) {
  if (known != nullptr && known->refused.load(std::memory_order_relaxed)) {
    return open(0);
  }
  auto opened = open(O_NOATIME);
  if (opened || opened.error() != EPERM) {
    return opened;
  }
  auto loud = open(0);
  if (loud && known != nullptr) {
    known->refused.store(true, std::memory_order_relaxed);
  }
  return loud;
}

}  // namespace

void UniqueFd::reset() noexcept {
  if (fd_ >= 0) {
    (void)::close(fd_);
    fd_ = -1;
  }
}

Result<UniqueFd> open_directory_path(const char* path) {
  return owned(::open(path, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

Result<UniqueFd> open_path(const char* path) { return owned(::open(path, O_PATH | O_CLOEXEC)); }

Result<UniqueFd> open_beneath(BorrowedFd root, const char* path) {
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  return owned(static_cast<int>(::syscall(SYS_openat2, root.get(), path, &how, sizeof how)));
}

Result<UniqueFd> open_inside(BorrowedFd root, const char* path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something was renamed while a ".." was followed.
  constexpr int kMostTries = 100;
  for (int i = 0;; ++i) {
    auto found =
        owned(static_cast<int>(::syscall(SYS_openat2, root.get(), path, &how, sizeof how)));
    if (found || found.error() != EAGAIN || i == kMostTries) {
      return found;
    }
  }
}

Result<UniqueFd> open_directory_at(BorrowedFd dir, const char* name, Mounts mounts) {
  return open_directory_with(dir, name, O_PATH, mounts);
}

Result<UniqueFd> open_listing(ObjectRef directory) {
  return open_listing_with(directory, 0, Mounts::kEnter);
}

Result<UniqueFd> open_listing_quietly(ObjectRef directory, QuietReads* known, Mounts mounts) {
  return quietly(known, [&](int flag) { return open_listing_with(directory, flag, mounts); });
}

Result<UniqueFd> open_handle(ObjectRef object) {
  if (object.by_fd()) {
    return duplicate(object.dir);
  }
  return owned(::openat(object.dir.get(), object.name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

Result<UniqueFd> reopen_handle(BorrowedFd open) {
  return owned(::open(ProcPath{ObjectRef{open, ""}}.c_str(), O_PATH | O_CLOEXEC));
}

Result<UniqueFd> open_file(ObjectRef object, Access access) {
  return open_file_with(object, access == Access::kRead ? O_RDONLY : O_RDWR);
}

Result<UniqueFd> open_file_quietly(ObjectRef object, QuietReads* known) {
  return quietly(known, [&](int flag) { return open_file_with(object, O_RDONLY | flag); });
}

Result<UniqueFd> create_file(BorrowedFd dir, const char* name, mode_t mode) {
  return owned(::openat(dir.get(), name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
}

Result<UniqueFd> create_unnamed(BorrowedFd dir, mode_t mode) {
  return owned(::openat(dir.get(), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, mode));
}

Result<UniqueFd> duplicate(BorrowedFd fd) { return owned(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

}  // namespace plyfs::sys
