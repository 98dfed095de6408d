// Words of an option string that are for mount(2) or fusermount3, or for nobody here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace plyfs::config {

/// Takes `word` if mount(2) or fusermount3 shall see it; true then. A word replaces an equal or
/// opposite one in `fuse_options`.
bool take_fuse_word(std::string_view word, std::vector<std::string>& fuse_options);

/// True for words that callers pass and that mean nothing here: those for the kernel's own
/// overlayfs, for mount(8), for container tools, for other FUSE libraries, and those that the
/// newest fusermount3 rejects.
bool is_ignored_word(std::string_view key);

bool contains_word(const std::vector<std::string>& words, std::string_view word);
void remove_word(std::vector<std::string>& words, std::string_view word);

}  // namespace plyfs::config
