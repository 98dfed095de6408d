// A small reproducible generator: the same seed gives the same numbers with every compiler and
// library (the distributions of <random> do not promise that).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace plyfs::difftest {

/// splitmix64. Guarded by caller.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ULL + 0x1234567ULL) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBULL;
    return mixed ^ (mixed >> 31U);
  }

  /// A number in [0, bound); 0 when `bound` is 0.
  std::size_t below(std::size_t bound) {
    return bound == 0 ? 0 : static_cast<std::size_t>(next() % bound);
  }

  /// A number in [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::size_t>(high - low) + 1));
  }

  bool chance(unsigned percent) { return below(100) < percent; }

  template <typename T>
  const T& pick(const std::vector<T>& choices) {
    return choices[below(choices.size())];
  }

 private:
  std::uint64_t state_;
};

/// `length` bytes that depend only on `seed`.
inline std::string random_bytes(std::uint64_t seed, std::size_t length) {
  Random random{seed};
  std::string bytes(length, '\0');
  for (std::size_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<char>('!' + static_cast<char>(random.below(90)));
  }
  return bytes;
}

}  // namespace plyfs::difftest
