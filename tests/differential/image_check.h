// flatten, commit and convert of the subject's stack, at rest, against what its mount has shown.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "compare.h"
#include "mounts.h"
#include "tree_dump.h"

namespace plyfs::difftest {

/// What the check needs of a session.
struct ImageTools {
  const Driver& subject;
  Driver& reader;         ///< kernel overlayfs
  Stack stack;            ///< the subject's
  std::string directory;  ///< empty; for what is written
  std::string format;     ///< of layers that may be written here: overlay, userxattr
  std::function<TreeDump(const std::string&)> dump;  ///< of a directory of the host
};

/// `flatten` gives what the mount showed. `commit` gives a layer which, over the same lower layers,
/// lets the kernel show the same. `diff` lists what docker diff would. Each layer, the upper among
/// them, comes back as it was from `convert` through the other families, in each order.
std::optional<Difference> check_images(const ImageTools& tools, const TreeDump& shown);

}  // namespace plyfs::difftest
