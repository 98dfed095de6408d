// Tells objects apart that had the same number one after the other.
#pragma once

#include <atomic>
#include <cstdint>

namespace plyfs {

/// Another one at each call, until all 32 bits are used up. The kernel knows a node by its address,
/// and a file handle (name_to_handle_at(2)) outlives the node: with this beside the address it
/// leads to that node or, ESTALE, to none.
inline std::uint32_t next_generation() {
  static std::atomic<std::uint32_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace plyfs
