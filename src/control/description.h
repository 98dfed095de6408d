// The answer to "describe" as the options of the stack that is mounted.
#pragma once

#include <string>
#include <vector>

#include "control/protocol.h"
#include "plyfs/options.h"

namespace plyfs::control {

/// Layers, work directory, volumes, mount point, and whether the index is on. A daemon is a process
/// of ours, but what it says is text: members that are missing or of another kind than
/// docs/design/control.md says are left out.
MountOptions described_options(const Json& described);

/// A volume that the daemon has bound over its mount.
struct BoundVolume {
  std::string place;  ///< below the mount point
  std::string source;
};
/// In the order of mounting; what could climb out of the mount is left out.
std::vector<BoundVolume> bound_volumes(const Json& described);

/// A string of an answer, unescaped; "" when there is none of that name.
std::string text_member(const Json& object, const char* name);

}  // namespace plyfs::control
