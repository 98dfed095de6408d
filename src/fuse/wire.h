// What is read from and written to the messages themselves, since libfuse 3.14 does not know it.
// Bytes in, bytes out; no system call.
#pragma once

#include <linux/fuse.h>

#include <cstdint>
#include <span>

#include "fuse/raw_request.h"

struct iovec;

namespace plyfs::fuse {

/// FUSE_OVER_IO_URING of Linux 6.14; Debian 12's header is older.
inline constexpr std::uint64_t kOverIoUring = 1ULL << 41;

fuse_in_header header_of(const char* message);
bool is_forget(std::uint32_t opcode);

/// Reads what libfuse drops, and turns TMPFILE into a CREATE (same body) marked as unnamed.
/// `long_setxattr`: INIT has agreed on it; then `bytes` may begin later than before.
RawRequest inspect(std::span<char>& bytes, bool long_setxattr);

/// libfuse 3.14 knows neither KILLPRIV_V2, without which every write asks for security.capability
/// first, nor that files past the page cache may be mapped (D-039), nor io_uring: all are accepted
/// here, in its reply to INIT. So is the longer SETXATTR, which tells who is in a file's group.
void accept_more(const RawRequest& raw, const iovec& reply);

/// What libfuse 3.14 does not know of the reply to OPEN, which ends that of CREATE, too.
void name_backing(std::int32_t backing, const iovec& reply);

}  // namespace plyfs::fuse
