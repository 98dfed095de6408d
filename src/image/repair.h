// Taking away what `verify` found to be left over.
#pragma once

#include <cstddef>
#include <vector>

#include "dump/verify.h"
#include "plyfs/result.h"

namespace plyfs::image {

/// Removes the findings that are repairable: left-over work entries and whiteouts over nothing, in
/// the upper only. Nothing that users see changes. EBUSY while the upper is mounted.
/// Returns how many were removed.
Result<std::size_t> repair(const dump::OpenStack& stack,
                           const std::vector<dump::Finding>& findings);

}  // namespace plyfs::image
