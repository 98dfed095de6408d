// Limits that a process inherits from the shell that started it: getrlimit(2).
#pragma once

#include <cstddef>

namespace plyfs::sys {

/// Raises the soft limits of descriptors, file sizes and processor time to the hard ones: they were
/// meant for the caller's own programs, and the latter two end a process. From now on writes beyond
/// the hard limit of file sizes fail with EFBIG, for the whole process. Returns the limit of
/// descriptors.
std::size_t raise_limits();

/// Makes room for `count` descriptors at once. The kernel doubles the table as it fills. Where
/// threads share the table, each doubling waits for an RCU grace period, 10 to 35 ms. So call this
/// before there are threads. Changes nothing where the limit is lower.
void reserve_fds(std::size_t count);

}  // namespace plyfs::sys
