// plyfs run, exec, ps and unshare.
#pragma once

#include <optional>

#include "run/cli.h"

namespace plyfs::run {

/// The exit code, if `words` are one of these commands; `words` begin with the program's name.
std::optional<int> run_command(Arguments words);

/// After `plyfs rm NAME...`: removes what runs kept under those of the names that have no record
/// any more.
void remove_kept_of_gone(Arguments names);

/// `plyfs run` with the defaults of an image: for those who know what --image says.
int run_program(RunOptions options);

}  // namespace plyfs::run
