// getdents64(2) over a whole directory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// One raw entry; `name` is valid during the visit only. "." and ".." are not visited.
struct RawEntry {
  const char* name;
  std::size_t name_size;
  ino_t ino;
  std::uint8_t type;  ///< d_type; kEntryTypeUnknown where the filesystem does not tell
  std::int64_t next;  ///< the filesystem's own offset of what comes behind it
};

enum class Visit : unsigned char { kContinue, kStop };

/// Visits every entry of `directory`, which is opened for listing and not read before: it begins at
/// the descriptor's position.
Status read_directory(BorrowedFd directory, const std::function<Visit(const RawEntry&)>& visit);

/// Reads a little from the start. Do this before a new descriptor is used at another offset: FUSE
/// servers on libfuse's high-level interface collect a directory at its first read, and sshfs (3.7)
/// aborts if that read is elsewhere.
Status begin_reading(BorrowedFd directory);

/// Visits the entries from `offset` on (0, or some entry's `next`), "." and ".." too, in pieces of
/// about `piece_bytes`. Offsets belong to the directory, not to the descriptor. Moves its position.
Status read_directory_from(BorrowedFd directory, std::int64_t offset, std::size_t piece_bytes,
                           const std::function<Visit(const RawEntry&)>& visit);

}  // namespace plyfs::sys
