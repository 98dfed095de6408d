// Hashing of names, identities and contents; the only user of xxHash.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace plyfs {

/// XXH3 of the bytes. Stable between runs: directory offsets are made of it.
std::uint64_t hash_bytes(std::string_view bytes);
std::uint64_t hash_pair(std::uint64_t first, std::uint64_t second);

/// XXH3-128 of a content that comes in pieces. Not cryptographic: equal digests of files that
/// nobody forged mean equal contents.
class ContentHash {
 public:
  ContentHash();
  ~ContentHash();
  ContentHash(const ContentHash&) = delete;
  ContentHash& operator=(const ContentHash&) = delete;
  void add(std::string_view bytes);
  /// 32 hexadecimal digits, as `xxhsum -H2` prints them.
  [[nodiscard]] std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace plyfs
