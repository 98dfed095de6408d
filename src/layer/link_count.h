// The mark that counts the names of a hard-linked file in the union (kernel overlayfs, index=on).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace plyfs::layer {

/// "U+1" or "L-2": the difference to the link count of the upper or the lower inode.
struct LinkCountMark {
  bool relative_to_lower = false;
  std::int32_t difference = 0;
};

/// nullopt for what ovl_get_nlink() (fs/overlayfs/util.c) takes for no mark, and what is longer
/// than any number. The mark comes from an untrusted layer.
std::optional<LinkCountMark> parse_link_count(std::string_view mark);

/// How many names the file has in the union. `lower_nlink` is 0 where the lower inode is not found
/// any more: then the names that exist, without the index entry, are what the mark is relative to.
/// A mark that says nothing, or less than one name, leaves `upper_nlink`, as in the kernel.
std::int64_t union_link_count(std::string_view mark, std::int64_t upper_nlink,
                              std::int64_t lower_nlink);

}  // namespace plyfs::layer
