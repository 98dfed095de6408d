// What a root directory has besides its layers: /proc, /dev, /sys, memory for /tmp and /run, and
// the host's names of hosts. As volumes, they are found without a link leading outside, and none
// of their mount points is written to the upper.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/options.h"
#include "run/options.h"
#include "sys/sandbox/step.h"

namespace plyfs::run {

/// The directory in which all of a run's mounts are prepared: a tmpfs, so that taking it off takes
/// off everything, and nothing that is ever removed lies below it.
struct Stage {
  std::string path;
  [[nodiscard]] std::string root() const { return path + "/root"; }
  [[nodiscard]] std::string lower() const { return path + "/lower"; }
  /// Of /tmp and /run, and those that were asked for.
  [[nodiscard]] std::string memory(std::size_t number) const {
    return path + "/memory-" + std::to_string(number);
  }
  [[nodiscard]] std::string proc() const { return path + "/proc"; }
};

/// Mounts the stage and what lies on it, but for /proc, which its user makes.
sys::sandbox::Step make_stage(const Stage& stage, const RunOptions& options, bool tty_group);

/// Adds them behind the run's own volumes, whose destinations go first.
void add_root_mounts(const Stage& stage, const RunOptions& options,
                     std::vector<VolumeMount>& volumes);

}  // namespace plyfs::run
