#include "fuse/node_id.h"

#include <exception>
#include <random>

namespace plyfs::fuse {
namespace {

std::uint64_t secret() noexcept {
  constexpr std::uint64_t kNoAddress = 1ULL << 62;
  constexpr std::uint64_t kLowBits = 15;  // of addresses from the heap: always 0
  try {
    std::random_device random;
    const std::uint64_t drawn = std::uint64_t{random()} << 32 | random();
    return (drawn | kNoAddress) & ~kLowBits;
  } catch (const std::exception&) {
    return kNoAddress;  // no randomness on this machine: addresses show
  }
}

}  // namespace

const std::uint64_t kIdMask = secret();

}  // namespace plyfs::fuse
