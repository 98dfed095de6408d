// `plyfs umount`, when its words have been understood.
#pragma once

#include "config/cli.h"
#include "sys/host_check.h"

namespace plyfs::commands {

/// Unmounts, and unless it is to be lazy waits until the daemon has ended. Returns the exit code;
/// failures go to stderr.
int umount(const config::CommandLine& line, const sys::HostFacts& host);

}  // namespace plyfs::commands
