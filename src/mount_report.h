// What a live mount tells of itself through its control channel. Part of the composition root.
#pragma once

#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fuse/counters.h"
#include "layer/upper_abilities.h"
#include "ops/statistics.h"
#include "plyfs/mount.h"
#include "plyfs/options.h"

namespace plyfs {

/// Collected while the mount is built; const afterwards.
struct MountReport {
  MountOptions options;  ///< with absolute paths
  std::string mountpoint;
  std::string device;                          ///< "MAJOR:MINOR" of the mount, once it is mounted
  std::optional<layer::UpperAbilities> upper;  ///< nullopt: read-only mount
  bool redirect = false;
  bool metacopy = false;
  bool index = false;
  bool user_marks = false;  ///< marks in user.* are read
  bool acl = false;
  bool writeback = false;
  bool private_layers = false;  ///< lower roots are private clones of their mounts
  unsigned threads = 0;
  VolumeReport volumes;
  std::vector<std::string> bound_places;  ///< of options.volumes, below the mount point, if bound
  timespec started{};
};

/// What was settled with the kernel.
struct ConnectionFacts {
  bool over_io_uring = false;
  bool passthrough = false;
  bool writeback = false;
};

/// Layer paths as a later process, in another directory, can open them.
void make_paths_absolute(MountOptions& options);

/// The answer to "describe"; docs/design/control.md has its members.
nlohmann::ordered_json describe(const MountReport& report, const ConnectionFacts& connection);

/// The answer to "stats".
nlohmann::ordered_json statistics_json(const ops::Statistics& operations, fuse::Counters& requests);

}  // namespace plyfs
