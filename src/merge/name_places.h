// Which parts of a directory have a name.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace plyfs::merge {

/// What a listing of the directory tells about one name, so that the parts need not be asked again:
/// exact for the topmost part that has it and the `kExact` behind that one.
class NamePlaces {
 public:
  enum class Place : std::uint8_t {
    kAbsent = 0,     ///< no object and no whiteout of that name
    kAsk = 1,        ///< something that decides
    kDirectory = 2,  ///< a directory of the layer's own, unless the host has mounted over it
  };
  static constexpr std::size_t kExact = 31;

  /// Nothing is known but that the parts above `first` lack it.
  static NamePlaces from(std::size_t first) { return {first, kAskAll}; }
  /// As kept in a ListedEntry.
  NamePlaces(std::size_t first, std::uint64_t following) : first_(first), following_(following) {}

  [[nodiscard]] std::size_t first() const { return first_; }
  [[nodiscard]] Place at(std::size_t part) const {
    if (part <= first_) {
      return part == first_ ? Place::kAsk : Place::kAbsent;
    }
    return static_cast<Place>(following_ >> shift_of(part - first_) & kMask);
  }
  /// Whether a part behind `part` may have it, `part` being the first or one behind that.
  [[nodiscard]] bool any_behind(std::size_t part) const {
    return following_ >> shift_of(part - first_ + 1) != 0;
  }
  /// In how many parts it is known to be, at least.
  [[nodiscard]] std::size_t count() const {
    const std::uint64_t some = (following_ | following_ >> 1) & kAskAll;
    return following_ == kAskAll ? 1 : 1 + static_cast<std::size_t>(std::popcount(some));
  }
  /// `following` with one more part in it, `distance` behind the first. Parts too far behind to
  /// have a place of their own share the last, which can only say that they must be asked.
  static std::uint64_t with(std::uint64_t following, std::size_t distance, Place place) {
    const std::uint64_t told = static_cast<std::uint64_t>(distance > kExact ? Place::kAsk : place);
    return (following & ~(kMask << shift_of(distance))) | told << shift_of(distance);
  }

 private:
  static constexpr std::uint64_t kMask = 3;
  static constexpr std::uint64_t kAskAll = 0x5555555555555555;
  static std::size_t shift_of(std::size_t distance) { return 2 * std::min(distance - 1, kExact); }

  std::size_t first_;
  std::uint64_t following_;
};

}  // namespace plyfs::merge
