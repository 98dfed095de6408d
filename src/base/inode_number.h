// st_ino as shown, where objects of several filesystems share one st_dev. Numbers fit 32 bits where
// they can, for programs that know no others (D-074): 32 spaces of 2^27. The union has the lower
// half of them, volumes the upper one; what does not fit has higher bits set.
#pragma once

#include <cstdint>

namespace plyfs {

inline constexpr unsigned kShortInoBits = 27;
inline constexpr std::uint32_t kUnionSpaces = 16;
inline constexpr std::uint32_t kVolumeSpaces = 15;
inline constexpr std::uint32_t kMadeUpSpace = 31;
/// Numbers from here on below 2^32 are those of volumes.
inline constexpr std::uint64_t kVolumeNumbers = std::uint64_t{kUnionSpaces} << kShortInoBits;

constexpr bool fits_short(std::uint64_t ino) { return ino >> kShortInoBits == 0; }
constexpr std::uint64_t short_ino(std::uint64_t space, std::uint64_t ino) {
  return space << kShortInoBits | ino;
}

}  // namespace plyfs
