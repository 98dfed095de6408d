// Files of a root directory that nobody vouches for.
#pragma once

#include <string>

#include "plyfs/result.h"

namespace plyfs::sys::sandbox {

/// A regular file of at most 1 MiB. Never waits: what is a pipe or a device is EINVAL.
Result<std::string> read_small_file(const char* path);
/// Whether there is a program at `path` that may be run.
bool is_program(const std::string& path);

}  // namespace plyfs::sys::sandbox
