// The names of a merged directory, in an order that never changes.
//
// Entries are sorted by a 63-bit hash of the name, and its upper half is the directory offset: 31
// bits, for 32-bit programs. Only where the next entry has the same upper half the offset is all
// of the hash. So an offset stays valid however the directory changes and whatever is cached:
// reading goes on behind it. A handle per open directory is not needed (zero-message opendir).
// D-006, D-074.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "merge/directory_stack.h"
#include "merge/name_places.h"
#include "plyfs/result.h"

namespace plyfs::merge {

struct ListedEntry {
  std::uint64_t order = 0;  ///< the hash; differs between entries
  std::uint64_t ino = 0;    ///< as shown; 0 where a lookup must tell
  std::uint32_t name_start = 0;
  std::uint8_t name_size = 0;
  std::uint8_t type = 0;        ///< d_type of the winning object
  std::uint16_t part = 0;       ///< index of the topmost part that has it
  std::uint64_t following = 0;  ///< NamePlaces: which of the parts behind it have it, too
  [[nodiscard]] NamePlaces places() const { return {part, following}; }
};

/// Immutable once built; shared by readers.
class Listing {
 public:
  static constexpr std::uint64_t kFirstOffset = 3;  ///< 1 and 2 are "." and ".."
  static constexpr unsigned kHalf = 32;
  static constexpr std::uint64_t kLastOrder = std::uint64_t{0x7fff0000} << kHalf;  ///< exclusive

  /// What is told of an entry of this listing, so that reading goes on behind it.
  [[nodiscard]] std::uint64_t offset(const ListedEntry& entry) const;
  /// First entry behind `offset`.
  [[nodiscard]] std::size_t position_after(std::uint64_t offset) const;
  [[nodiscard]] const std::vector<ListedEntry>& entries() const { return entries_; }
  /// NUL-terminated.
  [[nodiscard]] const char* name(const ListedEntry& entry) const {
    return names_.data() + entry.name_start;
  }
  /// Version of the directory that it shows (DirectoryData::version).
  [[nodiscard]] std::uint32_t version() const { return version_; }
  /// How many parts the directory had: with another one at the top, ListedEntry means others.
  [[nodiscard]] std::size_t part_count() const { return part_count_; }
  [[nodiscard]] std::size_t bytes() const {
    return entries_.capacity() * sizeof(ListedEntry) + names_.capacity();
  }

 private:
  friend class ListingBuilder;
  std::vector<ListedEntry> entries_;
  std::vector<char> names_;
  std::uint32_t version_ = 0;
  std::size_t part_count_ = 0;
};

/// Reads every part of the directory once. Errors: those of opening and reading a layer.
Result<std::shared_ptr<const Listing>> list_directory(const layer::LayerStack& stack,
                                                      DirectoryAccess& directory,
                                                      std::uint32_t version);
/// Whether nothing is visible in the directory (whiteouts do not count).
Result<bool> is_empty(const layer::LayerStack& stack, DirectoryAccess& directory);

std::uint64_t order_of_name(std::string_view name);

}  // namespace plyfs::merge
