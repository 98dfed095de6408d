// `plyfs volume ...`, `plyfs ls`, `plyfs rm`, and mounts found by name.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "config/cli.h"
#include "plyfs/mount.h"
#include "store/home.h"

namespace plyfs::store {

using Arguments = std::span<const char* const>;

/// Runs the command if it is one of ours: prints, and returns the exit code. `arguments` are those
/// of the program, its own name first.
std::optional<int> run_command(Arguments arguments);

/// The mountpoint of the mount called `target`, when it has no slash, is no entry of the current
/// directory and is the name of a live mount; else `target`.
std::string mountpoint_of(const std::string& target);

// The parts.
int run_volume(Arguments arguments);
int run_ls(Arguments arguments);
int run_rm(Arguments arguments);

void say(const std::string& text);
/// "plyfs: ..." on stderr; returns the exit code.
int complain(const Failure& failure);
/// For a command line that the parser settled by itself: help or wrong usage. Returns the exit
/// code.
int settle(const config::CommandLine& line);

}  // namespace plyfs::store
