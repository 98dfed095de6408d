// A tree as a directory: a plain copy (flatten), or a layer with marks (commit, convert).
#pragma once

#include <memory>
#include <string>

#include "image/tree_writer.h"

namespace plyfs::image {

/// How marks are written: overlay (trusted.*), userxattr (user.*), aufs (.wh. files).
enum class LayerFormat : std::uint8_t { kOverlay, kUserXattr, kAufs };

/// The directory is made beside `target` and renamed to it by finish(). EEXIST when `target` is
/// there (an empty directory is replaced). Owners that cannot be kept are EPERM.
Result<std::unique_ptr<TreeWriter>> make_directory_writer(const std::string& target,
                                                          LayerFormat format);

}  // namespace plyfs::image
