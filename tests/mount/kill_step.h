// Killing a command at each of its steps, from outside: no hook in the program is needed.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "process.h"

namespace plyfs::tests {

/// Runs `command` and kills it, with all its threads and children, as one of them is about to make
/// the `step`-th system call (from 1) that changes a file, a name or an attribute. Returns the exit
/// code when it ended before, nullopt when it was killed; its children are dead in both cases.
/// Throws where ptrace(2) is not allowed.
std::optional<int> run_until_change(const Arguments& command, unsigned step);

/// Runs `command` again and again, killed one step later each time, until it ends by itself with
/// exit code 0 (checked); `check(step)` follows each kill. Returns the number of kills.
unsigned kill_at_every_change(const Arguments& command, const std::function<void(unsigned)>& check);

}  // namespace plyfs::tests
