// The difference of two snapshots.
#pragma once

#include <string>

#include "dump/print.h"
#include "plyfs/mount.h"

namespace plyfs::dump {

/// Reads two files written by `snapshot` (text or JSON, each as it is) and returns "A", "D" and "C"
/// lines with what was there before and is now; "" when they are equal. nullopt with `failure`
/// filled when a file cannot be read or is no snapshot.
std::optional<std::string> compare_snapshots(const std::string& before, const std::string& after,
                                             const PrintStyle& style, Failure& failure);

}  // namespace plyfs::dump
