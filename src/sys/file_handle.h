// name_to_handle_at(2) and the filesystem's UUID: what kernel overlayfs's origin marks are made of.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

struct FileHandle {
  std::int32_t type = 0;
  std::string bytes;
};

/// nullopt where the filesystem has no handles (EOPNOTSUPP, EOVERFLOW).
Result<std::optional<FileHandle>> file_handle(ObjectRef object);

/// FS_IOC_GETFSUUID (Linux 6.9); nullopt where unknown. `fd` must not be O_PATH.
std::optional<std::array<std::uint8_t, 16>> filesystem_uuid(BorrowedFd fd);

}  // namespace plyfs::sys
