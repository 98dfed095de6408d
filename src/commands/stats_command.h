// plyfs-dump MOUNTPOINT stats: the counters of a live mount.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "dump/print.h"

namespace plyfs::commands {

struct StatsArguments {
  std::string target;
  bool json = false;
  bool watch = false;
  double interval_s = 1.0;
  dump::PrintStyle style;
};

/// With `watch` it prints again and again, with the rates between, until the mount is gone or
/// nobody reads; on a terminal it redraws. Returns the exit code.
int run_stats(const StatsArguments& arguments);

/// The counters as text; `before`, where given, is the answer of `interval_s` ago.
std::string stats_text(const nlohmann::ordered_json& now, const nlohmann::ordered_json* before,
                       const dump::PrintStyle& style);

}  // namespace plyfs::commands
