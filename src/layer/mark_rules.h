// Whose marks a mount believes. One rule for mounts and for those who read a stack at rest.
//
// A mark in trusted.* was written by root. One in user.* was written by whoever may write to the
// object: a daemon that may read more than its writers would show them what they may not see.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/file_stat.h"
#include "plyfs/options.h"

namespace plyfs::layer {

/// Of the process; const.
struct MarkRules {
  bool user = true;         ///< user.* is read at all (always so for ordinary users)
  bool privileged = false;  ///< may read what is others': follows the kernel's overlayfs
  bool all_ids = false;     ///< in the first user namespace: other ids are other people
  uid_t mounter = 0;

  /// Whether only the mounter or root can have marked such an object in user.*, wherever it lies.
  [[nodiscard]] bool believes(const FileStat& marked) const;
};

/// `asked`: the mount's option. In a user namespace of its own a daemon has no rights but its
/// user's, and trusted.* is closed to it.
MarkRules mark_rules(XattrNamespace asked);

/// Whether the way to the directory leads through one that only its owner, the mounter or root, may
/// pass: then nobody else reaches what lies in it.
bool is_closed_to_others(const std::string& path, const MarkRules& rules);

}  // namespace plyfs::layer
