// Who serves the union of a run: plyfs over FUSE, or the kernel's overlayfs over a read-only plyfs.
#pragma once

#include <optional>
#include <string>

#include "plyfs/mount.h"
#include "plyfs/options.h"
#include "run/options.h"
#include "run/root_mounts.h"

namespace plyfs::run {

struct Choice {
  Engine engine = Engine::kFuse;  ///< never kAuto
  std::string why;
};

/// Decides, by rules that the manual states. The stage is there to try a mount on, and so are
/// the upper and the work directory. A failure when the kernel
/// was asked for and cannot.
std::optional<Failure> choose_engine(const RunOptions& options, const MountOptions& mount,
                                     const Stage& stage, Choice& choice);

[[nodiscard]] const char* engine_name(Engine engine);

}  // namespace plyfs::run
