// Whether anybody but root could decide what a path leads to.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "plyfs/result.h"

namespace plyfs::sys {

/// The part of a path that others than root can change.
struct Untrusted {
  std::string path;
  uid_t owner = 0;  ///< 0: root's, but others may write to it
};

/// Looks at each directory and link on the way to `path` (absolute) and at what is there; what is
/// not there yet root will make. Needs the first user namespace: in another one root is nobody.
Result<std::optional<Untrusted>> find_untrusted(const std::string& path);

}  // namespace plyfs::sys
