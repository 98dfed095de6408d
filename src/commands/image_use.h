// Images for the commands that take `--image`.
#pragma once

#include <optional>

#include "plyfs/mount.h"
#include "plyfs/options.h"
#include "plyfs/run_defaults.h"
#include "sys/unique_fd.h"

namespace plyfs::commands {

/// Where `options.image` names an image, its layers and, with an upper, its volumes come into
/// `options`; `held` keeps it. Nothing to do where it names none.
std::optional<Failure> use_image(MountOptions& options, sys::UniqueFd& held);

/// The same for a run, with what the image says about it; always with the volumes.
std::optional<Failure> use_image(MountOptions& options, sys::UniqueFd& held, RunDefaults& defaults);

/// Enters the user namespace of runs where this user has subordinate ids: there the owners of
/// layers are right, and they can be removed again. Before threads exist, and after the
/// store was found: inside we are root, whose store would be another.
std::optional<Failure> enter_image_namespace();

}  // namespace plyfs::commands
