// Options as a line of text, for comparing.
#pragma once

#include <string>

#include "plyfs/options.h"

namespace plyfs::config {

/// Everything in `options` that differs from the defaults, in a fixed order; no volumes.
std::string describe(const MountOptions& options);

/// The volumes that were asked for: "bind /a to /b ro, named x to /y, from web ro".
std::string describe_volumes(const MountOptions& options);

}  // namespace plyfs::config
