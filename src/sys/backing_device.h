// What the kernel allows a mount's pages: /sys/class/bdi
// (Documentation/ABI/testing/sysfs-class-bdi).
#pragma once

#include <sys/types.h>

namespace plyfs::sys {

/// FUSE mounts start with 128 KiB of read-ahead, and with a "strict limit": however much memory is
/// free, only a hundredth of it may hold data of such a mount that is not written yet. Where the
/// caller is root of the machine this gives the mount on `device` (st_dev) what other filesystems
/// have: 1 MiB, and that limit only when dirty memory is short. For others, and on kernels without
/// the files, nothing changes. The calling thread, and those that it starts, should be those that
/// serve the mount: where that is allowed they are marked as such (prctl(2), PR_SET_IO_FLUSHER),
/// and then do not wait for what they alone can write.
void widen_page_cache(dev_t device);

}  // namespace plyfs::sys
