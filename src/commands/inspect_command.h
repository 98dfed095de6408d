// plyfs inspect: what is known of a mount, from its record and from its daemon.
#pragma once

#include <optional>
#include <span>

namespace plyfs::commands {

/// Runs the command if it is this one; returns the exit code. `words` are those of the program, its
/// own name first.
std::optional<int> run_inspect(std::span<const char* const> words);

}  // namespace plyfs::commands
