// Opening the root of a layer, and where a mountpoint lies inside it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// O_PATH handle of a layer's root. Where the caller may (CAP_SYS_ADMIN in its user namespace) it
/// is that of a private clone of the mount, without what is mounted inside. Then no lookup below
/// can ever leave the layer's filesystem, exactly as in kernel overlayfs.
Result<UniqueFd> open_layer_root(const std::string& path);

/// The components that lead from `root` to `absolute` (a path without links); nullopt when it does
/// not lie below `root`.
Result<std::optional<std::vector<std::string>>> components_below(BorrowedFd root,
                                                                 const std::string& absolute);

/// Takes LOCK_EX on `directory` (opened for reading), waiting up to `timeout_ms` for a holder that
/// is going away. EBUSY.
Status lock_directory(BorrowedFd directory, int timeout_ms);
void sleep_ms(int milliseconds);

}  // namespace plyfs::sys
