// stdout and stderr of the programs: which is a terminal, and whether anybody reads on.
#pragma once

#include <string_view>

#include "dump/print.h"
#include "plyfs/mount.h"

namespace plyfs::commands {

/// As which plyfs complains.
inline constexpr std::string_view kMainProgram = "plyfs";
/// As which plyfs-dump complains.
inline constexpr std::string_view kDumpProgram = "plyfs-dump";

/// Writes to stdout; false when that failed (nobody reads, disk full).
bool write_out(std::string_view text);

/// Flushes stdout. Returns `exit_code`, or 2 after a complaint when something was not written. A
/// reader that went away (EPIPE) is no failure.
int finish_out(std::string_view program, int exit_code);

/// "plyfs-dump: ..." on stderr; returns the exit code.
int complain(std::string_view program, const Failure& failure);

/// Whether stdout is a terminal that may be coloured (NO_COLOR is not set).
bool may_colour();

}  // namespace plyfs::commands
