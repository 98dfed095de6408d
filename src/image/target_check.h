// Whether a tree would be written into itself.
#pragma once

#include <string>

#include "dump/open_stack.h"
#include "plyfs/result.h"

namespace plyfs::image {

/// Whether what is made at `target` would lie in a layer or in the live mount: below a layer's
/// root. What the host has mounted below a layer is not part of it. Layers below are never written,
/// also where what is made would not be read. Errors: those of opening the directory that is to
/// hold the target.
Result<bool> lies_in_stack(const std::string& target, const dump::OpenStack& stack);

}  // namespace plyfs::image
