// name_to_handle_at(2): what kernel overlayfs's origin marks are made of.
#pragma once

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

}  // namespace plyfs::sys
