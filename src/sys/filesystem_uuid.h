// The UUID of the filesystem that an open file lies on, as the kernel knows it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "sys/unique_fd.h"

namespace plyfs::sys {

using FilesystemUuid = std::array<std::uint8_t, 16>;

/// FS_IOC_GETFSUUID (Linux 6.9), else uuid_by_type(); nullopt where neither knows. `fd` must not be
/// O_PATH.
std::optional<FilesystemUuid> filesystem_uuid(BorrowedFd fd);

/// What ext4 (Linux 6.0), xfs and btrfs have told before, each by an ioctl of its own; nullopt for
/// other filesystems. `fd` must not be O_PATH.
std::optional<FilesystemUuid> uuid_by_type(BorrowedFd fd);

}  // namespace plyfs::sys
