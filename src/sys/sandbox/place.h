// A path as it means something to those who have `root` as their root directory.
#pragma once

#include <string>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys::sandbox {

enum class Missing : unsigned char { kMakeDirectory, kMakeFile };

/// What lies at `path` below `root`, as a handle. Links are read and followed here, inside the root
/// only, never by the kernel; ".." ends there. What is missing is made, as `missing` says for the
/// last component.
Result<UniqueFd> place_in_root(BorrowedFd root, const std::string& path, Missing missing);

}  // namespace plyfs::sys::sandbox
