#pragma once

// Rounds over workloads and systems.

#include <string>
#include <vector>

#include "results.h"

namespace plyfs::bench {

struct Settings {
  std::vector<std::string> systems;    ///< names; empty: all
  std::vector<std::string> workloads;  ///< names; empty: those of When::kDefault
  std::vector<System> more_systems;
  unsigned rounds = 3;
  double scale = 1;
  double budget_s = 0;   ///< no workload is begun after it; 0: no end
  double limit_s = 120;  ///< of one workload on one system
  std::string plyfs;
  std::string medium;  ///< "tmpfs", "ext4", or what each workload asks for
  Identity user;
  std::string command;
  bool show_progress = false;
};

/// Everything below `base`, a directory of ours. Progress on stderr. Throws what makes a run
/// useless; what only spoils one figure is in `failures`.
Results run_benchmark(const Settings& settings, const std::string& base);

}  // namespace plyfs::bench
