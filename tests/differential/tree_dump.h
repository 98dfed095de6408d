// A whole tree as data: what a user of the mount can see of every object.
#pragma once

#include <sys/types.h>

#include <ctime>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "side.h"

namespace plyfs::difftest {

struct TreeEntry {
  std::string words;    ///< type, mode, owner; links, size and device of a non-directory
  std::string content;  ///< digest of a file's bytes, target of a symbolic link
  std::string linked;   ///< first path (in order) of the same inode
  std::map<std::string, std::string> xattrs;
  timespec mtime{};
  ino_t inode = 0;
};

struct TreeDump {
  std::map<std::string, TreeEntry> entries;  ///< by path; the root is "."
  /// What is wrong with the tree by itself: an unreadable part, d_ino and st_ino that differ, ...
  std::vector<std::string> anomalies;
};

/// Dumps the tree of `side` as root. Leaves the process inside the side's root.
TreeDump dump_tree(const Side& side);

}  // namespace plyfs::difftest
