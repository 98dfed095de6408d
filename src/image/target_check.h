// Whether a tree would be written into itself.
#pragma once

#include <string>

#include "dump/open_stack.h"
#include "plyfs/result.h"

namespace plyfs::image {

enum class Reads : std::uint8_t { kUpper, kAllLayers };

/// Whether what is made at `target` would appear in what is read: below a layer's root (`reads`
/// says of which), or in the live mount. What the host has mounted below a layer is not part of it.
/// Errors: those of opening the directory that is to hold the target.
Result<bool> lies_in_stack(const std::string& target, const dump::OpenStack& stack, Reads reads);

}  // namespace plyfs::image
