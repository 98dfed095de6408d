// The parent of a run's program: starts it, passes signals on, reaps, and tells the front.
#pragma once

#include "sys/sandbox/link.h"
#include "sys/sandbox/program.h"

namespace plyfs::sys::sandbox {

/// Starts `program` and stays until it has ended, or nobody is at the front any more: then the
/// program is killed. Tells kTerminal, kStarted, kStopped, kEnded, or kFailed. As process 1 of a
/// pid namespace the caller ends all that is in it by ending itself.
void keep(const Program& program, const Link& front);

}  // namespace plyfs::sys::sandbox
