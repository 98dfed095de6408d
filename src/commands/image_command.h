// plyfs image ...
#pragma once

#include <optional>
#include <span>

namespace plyfs::commands {

/// Runs the command if it is one of ours. `words` are those of the program, its own name first.
std::optional<int> run_image_command(std::span<const char* const> words);

}  // namespace plyfs::commands
