#include "sys/file_io.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

namespace plyfs::sys {
namespace {

static_assert(kSeekData == SEEK_DATA && kSeekHole == SEEK_HOLE);

template <typename Call>
Status repeated(Call call) {
  while (call() != 0) {
    if (errno != EINTR) {
      return Errno{errno};
    }
  }
  return {};
}

}  // namespace

Result<std::size_t> read_at(BorrowedFd fd, void* buffer, std::size_t size_bytes,
                            std::int64_t offset) {
  std::size_t done = 0;
  while (done < size_bytes) {
    const ssize_t got = ::pread(fd.get(), static_cast<char*>(buffer) + done, size_bytes - done,
                                offset + static_cast<std::int64_t>(done));
    if (got == 0) {
      break;
    }
    if (got < 0) {
      if (errno == EINTR) {
        continue;
      }
      // Also where some was read: less than asked for means that the file ends there, and the
      // kernel would fill up with zeros. It asks page by page after an error.
      return Errno{errno};
    }
    done += static_cast<std::size_t>(got);
  }
  return done;
}

Result<std::size_t> write_at(BorrowedFd fd, const void* buffer, std::size_t size_bytes,
                             std::int64_t offset) {
  std::size_t done = 0;
  while (done < size_bytes) {
    const ssize_t put = ::pwrite(fd.get(), static_cast<const char*>(buffer) + done,
                                 size_bytes - done, offset + static_cast<std::int64_t>(done));
    if (put < 0) {
      if (errno == EINTR) {
        continue;
      }
      if (done > 0) {
        break;
      }
      return Errno{errno};
    }
    if (put == 0) {
      break;
    }
    done += static_cast<std::size_t>(put);
  }
  return done;
}

Status write_all_at(BorrowedFd fd, const void* buffer, std::size_t size_bytes,
                    std::int64_t offset) {
  for (std::size_t done = 0; done < size_bytes;) {
    const std::size_t put =
        TRY(write_at(fd, static_cast<const char*>(buffer) + done, size_bytes - done,
                     offset + static_cast<std::int64_t>(done)));
    if (put == 0) {
      return Errno{EIO};  // write(2) has no such answer for a file
    }
    done += put;
  }
  return {};
}

Result<std::size_t> append(BorrowedFd fd, const void* buffer, std::size_t size_bytes) {
  std::size_t done = 0;
  while (done < size_bytes) {
    // iovec has no const.
    const iovec part{const_cast<char*>(static_cast<const char*>(buffer)) + done, size_bytes - done};
    const ssize_t put = ::pwritev2(fd.get(), &part, 1, 0, RWF_APPEND);
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put < 0 && done == 0) {
      return Errno{errno};
    }
    if (put <= 0) {
      break;
    }
    done += static_cast<std::size_t>(put);
  }
  return done;
}

Result<std::int64_t> seek(BorrowedFd fd, std::int64_t offset, int whence) {
  const off_t found = ::lseek(fd.get(), offset, whence);
  if (found < 0) {
    return Errno{errno};
  }
  return static_cast<std::int64_t>(found);
}

Result<std::size_t> copy_range(BorrowedFd from, std::int64_t from_offset, BorrowedFd to,
                               std::int64_t to_offset, std::size_t size_bytes) {
  off_t in = from_offset;
  off_t out = to_offset;
  for (;;) {
    const ssize_t copied = ::copy_file_range(from.get(), &in, to.get(), &out, size_bytes, 0);
    if (copied >= 0) {
      return static_cast<std::size_t>(copied);
    }
    if (errno != EINTR) {
      return Errno{errno};
    }
  }
}

Status clone_file(BorrowedFd from, BorrowedFd to) {
  return repeated([&] { return ::ioctl(to.get(), FICLONE, from.get()); });
}

Status allocate(BorrowedFd fd, int mode, std::int64_t offset, std::int64_t size_bytes) {
  return repeated([&] { return ::fallocate(fd.get(), mode, offset, size_bytes); });
}

Status resize(BorrowedFd fd, std::int64_t size_bytes) {
  return repeated([&] { return ::ftruncate(fd.get(), size_bytes); });
}

void start_writeback(BorrowedFd fd, std::int64_t offset, std::int64_t size_bytes) {
  (void)::sync_file_range(fd.get(), offset, size_bytes, SYNC_FILE_RANGE_WRITE);
}

Status sync_all(BorrowedFd fd) {
  return repeated([&] { return ::fsync(fd.get()); });
}

Status sync_data(BorrowedFd fd) {
  return repeated([&] { return ::fdatasync(fd.get()); });
}

Status close_file(UniqueFd fd) {
  return ::close(fd.release()) == 0 ? Status{} : Status{Errno{errno}};
}

Status flush(BorrowedFd fd) {
  const int copy = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? Status{Errno{errno}} : close_file(UniqueFd{copy});
}

Status sync_filesystem(BorrowedFd fd) {
  return ::syncfs(fd.get()) == 0 ? Status{} : Status{Errno{errno}};
}

Result<std::uint32_t> inode_flags(BorrowedFd fd) {
  int flags = 0;
  if (::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) != 0) {
    return Errno{errno};
  }
  return static_cast<std::uint32_t>(flags);
}

Status set_inode_flags(BorrowedFd fd, std::uint32_t flags) {
  int value = static_cast<int>(flags);
  return repeated([&] { return ::ioctl(fd.get(), FS_IOC_SETFLAGS, &value); });
}

Status lock_exclusive(BorrowedFd fd) {
  return repeated([&] { return ::flock(fd.get(), LOCK_EX | LOCK_NB); });
}

}  // namespace plyfs::sys
