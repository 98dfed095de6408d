#include "config/fuse_words.h"

#include <algorithm>
#include <array>
#include <utility>

namespace plyfs::config {
namespace {

// What every libfuse 3 and fusermount3 understands. Others would end the mount with "unknown
// option". default_permissions is always on and not a matter of the caller.
constexpr std::array<std::pair<std::string_view, std::string_view>, 13> kFuseWords{{
    {"suid", "nosuid"},
    {"nosuid", "suid"},
    {"dev", "nodev"},
    {"nodev", "dev"},
    {"exec", "noexec"},
    {"noexec", "exec"},
    {"sync", "async"},
    {"async", "sync"},
    {"dirsync", ""},
    {"noatime", ""},
    {"allow_other", "allow_root"},
    {"allow_root", "allow_other"},
    {"auto_unmount", ""},
}};

constexpr auto kIgnored = std::to_array<std::string_view>(
    {// Kernel overlayfs: for what we do anyway, or never do.
     "nfs_export", "uuid", "override_creds", "nooverride_creds", "casefold", "context", "fscontext",
     "defcontext", "rootcontext", "seclabel",
     // Other union filesystems in user space.
     "static_nlink", "fast_ino", "fast_ino_check", "ino32_t", "plugins", "default_permissions",
     "kernel_cache", "auto_cache", "big_writes", "hard_remove", "use_ino", "readdir_ino",
     "nonempty", "max_write", "max_read", "max_readahead", "max_background", "congestion_threshold",
     "splice_read", "splice_write", "splice_move", "no_splice_read", "no_splice_write",
     "no_splice_move", "async_read", "sync_read", "clone_fd", "large_read", "intr",
     // Access times: the newest fusermount3 rejects some, libfuse the others.
     "atime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
     "lazytime", "nolazytime", "iversion", "noiversion", "mand", "nomand", "silent", "loud",
     "symfollow",
     // Propagation and bind words are acted on by the caller.
     "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable",
     "bind", "rbind",
     // mount(8) and fstab(5).
     "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev",
     "comment"});

}  // namespace

bool contains_word(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

void remove_word(std::vector<std::string>& words, std::string_view word) {
  std::erase(words, word);
}

bool take_fuse_word(std::string_view word, std::vector<std::string>& fuse_options) {
  const auto* const found =
      std::ranges::find_if(kFuseWords, [&](const auto& entry) { return entry.first == word; });
  if (found == kFuseWords.end()) {
    return false;
  }
  remove_word(fuse_options, found->first);
  remove_word(fuse_options, found->second);
  fuse_options.emplace_back(word);
  return true;
}

bool is_ignored_word(std::string_view key) {
  return key.starts_with("x-") || key.starts_with("X-") ||
         std::ranges::find(kIgnored, key) != kIgnored.end();
}

}  // namespace plyfs::config
