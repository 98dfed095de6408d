// plyfs diff, commit, flatten, convert: layers as things to look at and to hand on.
#pragma once

#include <optional>
#include <span>

namespace plyfs::commands {

/// Runs the command if it is one of the four ([0] is the program's name, [1] the command); nullopt
/// for all others. Returns its exit code.
std::optional<int> run_layer_command(std::span<const char* const> arguments);

}  // namespace plyfs::commands
