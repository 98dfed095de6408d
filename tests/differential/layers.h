// The random lower layers of a case: described as plain data, built once, shared by both sides.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "random.h"

namespace plyfs::difftest {

enum class EntryKind : std::uint8_t {
  kDirectory,
  kFile,
  kSymlink,
  kFifo,
  kSocket,
  kDevice,
  kHardLink,       ///< another name of `target`, a file of the same layer
  kWhiteout,       ///< character device 0:0
  kXattrWhiteout,  ///< overlay.whiteout on an empty file; its directory is marked opaque=x
};

struct LayerEntry {
  int layer = 0;  ///< 0 is the lowest
  std::string path;
  EntryKind kind = EntryKind::kFile;
  mode_t mode = 0644;
  uid_t uid = 0;
  gid_t gid = 0;
  timespec mtime{};
  std::string target;  ///< of a symlink or a hard link
  bool opaque = false;
  off_t hole = 0;  ///< bytes of hole before the data of a file
  std::size_t length = 0;
  std::uint64_t data_seed = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

/// What a kind of run may put into the layers.
struct LayerLimits {
  bool trusted_xattrs = true;   ///< markers and extra xattrs in trusted.* (needs real root)
  bool owners = true;           ///< more than one uid and gid exists here
  bool devices = true;          ///< mknod of devices is allowed
  bool hard_links = true;       ///< hard links inside one layer
  bool xattr_whiteouts = true;  ///< the kernel reads them (Linux 6.8)
  bool acls = true;             ///< POSIX ACLs
};

/// The layers of a seed, lowest first; parents before children.
std::vector<LayerEntry> generate_layers(Random& random, const LayerLimits& limits);

/// Number of layers that `entries` speak of (at least 1).
int layer_count(const std::vector<LayerEntry>& entries);

/// Builds the layers as `root`/0, `root`/1, ... Missing parents are made (minimised cases lack
/// some). Returns an empty string, or what failed.
std::string build_layers(const std::vector<LayerEntry>& entries, const std::string& root,
                         const LayerLimits& limits);

/// One readable line.
std::string describe(const LayerEntry& entry);

/// The names that random trees are made of; few, so that layers meet.
const std::vector<std::string>& name_pool();

/// A symbolic link's content: mostly short relative paths, some absolute, dangling or long.
std::string random_target(Random& random);

/// A POSIX ACL xattr with a named user and a named group.
std::string acl_value(Random& random, const LayerLimits& limits);

/// A version 2 security.capability value with CAP_NET_RAW.
std::string capability_value();

}  // namespace plyfs::difftest
