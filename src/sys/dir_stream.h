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
};

enum class Visit : unsigned char { kContinue, kStop };

/// Visits every entry of `directory` (opened for listing), from the start.
Status read_directory(BorrowedFd directory, const std::function<Visit(const RawEntry&)>& visit);

}  // namespace plyfs::sys
