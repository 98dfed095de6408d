// Hashing of names and identities; the only user of xxHash.
#pragma once

#include <cstdint>
#include <string_view>

namespace plyfs {

/// XXH3 of the bytes. Stable between runs: directory offsets are made of it.
std::uint64_t hash_bytes(std::string_view bytes);
std::uint64_t hash_pair(std::uint64_t first, std::uint64_t second);

}  // namespace plyfs
