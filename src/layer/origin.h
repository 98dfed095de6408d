// Kernel overlayfs's origin marks and index names: which lower file an upper file came from.
#pragma once

#include <optional>
#include <string>

#include "layer/layer_stack.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::layer {

/// The `struct ovl_fb` of a lower object (fs/overlayfs/overlayfs.h), the value of
/// trusted.overlay.origin. nullopt where the filesystem gives no handles or no UUID.
Result<std::optional<std::string>> encode_origin(const Layer& layer, sys::ObjectRef object);
/// Name of an object's entry in WORK/index: hexadecimal of its origin.
std::string index_name(const std::string& origin);

}  // namespace plyfs::layer
