// Putting a finished directory in another one's place.
#pragma once

#include <string>

#include "plyfs/result.h"

namespace plyfs::image {

/// Exchanges the two in one step, then removes what was at `target` (now under the name of
/// `replacement`). Both lie in one directory. The exchange has happened when removing fails.
Status replace_directory(const std::string& target, const std::string& replacement);

}  // namespace plyfs::image
