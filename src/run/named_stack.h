// The stack of a run by the name of a mount that was, and the name of one that is kept.
#pragma once

#include <optional>

#include "plyfs/mount.h"
#include "run/options.h"
#include "store/home.h"

namespace plyfs::run {

/// Fills in the layers, the upper and the volumes of the record of that name, besides volumes that
/// were given. What is kept stays kept.
std::optional<Failure> take_named_stack(RunOptions& options);

/// Where what a run of that name changes is kept, and the upper in there.
[[nodiscard]] std::string kept_directory(const store::Home& home, const std::string& name);
[[nodiscard]] std::string kept_upper(const store::Home& home, const std::string& name);

}  // namespace plyfs::run
