// Data calls. Offsets and sizes in bytes. EINTR is retried.
#pragma once

#include <cstddef>
#include <cstdint>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Reads until `size_bytes` or end of file: less always means the end. An error is returned also
/// where something was read before it.
Result<std::size_t> read_at(BorrowedFd fd, void* buffer, std::size_t size_bytes,
                            std::int64_t offset);
/// Writes what it can, as write(2): an error after some was written is told by the next call.
Result<std::size_t> write_at(BorrowedFd fd, const void* buffer, std::size_t size_bytes,
                             std::int64_t offset);
/// Writes all, or returns the error that kept it from that; some may be written then.
Status write_all_at(BorrowedFd fd, const void* buffer, std::size_t size_bytes, std::int64_t offset);
/// Writes all at the end of the file, wherever that is now: atomic against other appends, piece by
/// piece only where the filesystem writes short.
Result<std::size_t> append(BorrowedFd fd, const void* buffer, std::size_t size_bytes);
/// ENXIO past the last data / at the end as lseek(2). `whence` is SEEK_DATA or SEEK_HOLE.
Result<std::int64_t> seek(BorrowedFd fd, std::int64_t offset, int whence);
Result<std::size_t> copy_range(BorrowedFd from, std::int64_t from_offset, BorrowedFd to,
                               std::int64_t to_offset, std::size_t size_bytes);
/// FICLONE. EOPNOTSUPP, EXDEV, EINVAL when the filesystem cannot.
Status clone_file(BorrowedFd from, BorrowedFd to);
Status allocate(BorrowedFd fd, int mode, std::int64_t offset, std::int64_t size_bytes);
Status resize(BorrowedFd fd, std::int64_t size_bytes);
/// Begins to write a range to the disk and does not wait: sync_file_range(2). Its errors come back
/// from the next sync_all().
void start_writeback(BorrowedFd fd, std::int64_t offset, std::int64_t size_bytes);
Status sync_all(BorrowedFd fd);
Status sync_data(BorrowedFd fd);
/// What close(2) of such a descriptor says: EIO, ENOSPC, EDQUOT of a filesystem that sends data
/// then.
Status flush(BorrowedFd fd);
/// Closes it in any case.
Status close_file(UniqueFd fd);
/// syncfs(2): the whole filesystem of `fd`, which is not O_PATH.
Status sync_filesystem(BorrowedFd fd);
/// FS_IOC_GETFLAGS / FS_IOC_SETFLAGS.
Result<std::uint32_t> inode_flags(BorrowedFd fd);
Status set_inode_flags(BorrowedFd fd, std::uint32_t flags);
/// LOCK_EX without waiting; EWOULDBLOCK when another process holds it.
Status lock_exclusive(BorrowedFd fd);

inline constexpr int kSeekData = 3;
inline constexpr int kSeekHole = 4;

}  // namespace plyfs::sys
