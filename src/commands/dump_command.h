// plyfs-dump: see into a stack.
#pragma once

#include <span>

namespace plyfs::commands {

/// Runs `plyfs-dump ARGUMENTS...` ([0] is the program's name) and returns its exit code.
int run_dump(std::span<const char* const> arguments);

}  // namespace plyfs::commands
