// Limits that a process takes over from the shell that started it: getrlimit(2).
#pragma once

#include <cstddef>

namespace plyfs::sys {

/// Raises the soft limits of descriptors, file sizes and processor time to the hard ones: they were
/// meant for whoever called, and the latter two end a process. Where the hard limit of file sizes
/// is reached, writes fail with EFBIG from now on, for the whole process. Returns the limit of
/// descriptors.
std::size_t raise_limits();

/// Makes room for `count` descriptors at once. The kernel doubles the table as it fills, and where
/// threads share it each time waits for an RCU grace period, 10 to 35 ms: to be called before there
/// are threads. Changes nothing where the limit is lower.
void reserve_fds(std::size_t count);

}  // namespace plyfs::sys
