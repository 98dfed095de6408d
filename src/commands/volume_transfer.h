// plyfs volume export | import: a volume's content as a tar.
#pragma once

#include <optional>
#include <span>

namespace plyfs::commands {

/// Runs the command if it is one of these; returns the exit code. `words` are those of the program,
/// its own name first.
std::optional<int> run_volume_transfer(std::span<const char* const> words);

}  // namespace plyfs::commands
