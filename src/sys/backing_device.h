// What the kernel allows a mount's pages: /sys/class/bdi
// (Documentation/ABI/testing/sysfs-class-bdi).
#pragma once

#include <sys/types.h>

namespace plyfs::sys {

/// FUSE mounts start with 128 KiB of read-ahead and a "strict limit": however much memory is free,
/// only a hundredth of it may hold unwritten data of such a mount. For root of the machine this
/// gives the mount on `device` (st_dev) what other filesystems have: 1 MiB of read-ahead, and that
/// limit only when dirty memory is short. For others, and on kernels without the files, nothing
/// changes. Call it from the thread that serves the mount, or that starts those which do. Where it
/// is allowed these threads are marked (prctl(2), PR_SET_IO_FLUSHER), so that they do not wait for
/// what they alone can write.
void widen_page_cache(dev_t device);

}  // namespace plyfs::sys
