#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace plyfs {

std::uint64_t hash_bytes(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::uint64_t hash_pair(std::uint64_t first, std::uint64_t second) {
  // A cheap strong mix (splitmix64's finaliser): keys are pointers and inode numbers, not text.
  std::uint64_t mixed = first * 0x9e3779b97f4a7c15ULL ^ second;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
  return mixed ^ (mixed >> 31);
}

}  // namespace plyfs
