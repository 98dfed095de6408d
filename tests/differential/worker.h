// Runs one case in a process of its own, with its own mounts and process ids, and a time limit.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "compare.h"
#include "session.h"

namespace plyfs::difftest {

using Task = std::function<std::optional<Difference>(const std::string& base, Progress& progress)>;

struct WorkerOptions {
  std::string base;       ///< an existing directory; empty again when the worker has ended
  bool own_tmpfs = true;  ///< mount a tmpfs on it, private to the worker
  int limit_s = 60;       ///< a worker that takes longer hangs: it is ended and that is reported
  std::string keep;       ///< when set, the trees of a failed case are copied to this directory
};

/// Runs `task` in a new mount and process namespace: whatever happens to it, its mounts and its
/// processes end with it. Returns what the task found; a crash or a hang is a difference too.
std::optional<Difference> run_in_worker(const WorkerOptions& options, const Task& task);

/// The worker that runs now, for the signal handler; 0 if none.
int current_worker();

}  // namespace plyfs::difftest
