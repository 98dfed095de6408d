// The number by which the kernel knows a node: its address, hidden.
//
// name_to_handle_at(2) shows it to every user, and addresses of the heap help whoever looks for a
// way in. So it is told with a secret of this process in it.
#pragma once

#include <cstdint>

namespace plyfs::fuse {

/// Of this process. Its lowest bits are 0 (kVolumeTag), and one that no address has is 1: a number
/// is neither 0 nor that of the root.
extern const std::uint64_t kIdMask;

/// Set in the number of a volume's node.
inline constexpr std::uint64_t kVolumeTag = 1;

inline std::uint64_t hidden_id(const void* node) {
  return reinterpret_cast<std::uintptr_t>(node) ^ kIdMask;
}

}  // namespace plyfs::fuse
