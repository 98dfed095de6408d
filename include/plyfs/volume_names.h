// What a mount with volumes and the commands that handle it agree on.
#pragma once

namespace plyfs {

/// Asked of the root of a live mount: the places of its bind mounts, below the mountpoint, in the
/// order in which they were mounted, each ended by a NUL byte. Absent where there are none.
inline constexpr const char* kBoundVolumesXattr = "user.plyfs.bound-volumes";

}  // namespace plyfs
