// Filling an empty managed volume with what the image has at its path.
#pragma once

#include "base/id_map.h"
#include "ops/filesystem.h"
#include "plyfs/options.h"
#include "plyfs/result.h"

namespace plyfs::fill {

struct FillIds {
  IdMap uids;
  IdMap gids;
};

/// Copies the merged directory at `volume.destination` into the empty directory `volume.source`,
/// with owners, modes, times, links, holes and xattrs, by building it beside and one rename.
/// Nothing happens where the image has no directory there, or where the volume is not empty (any
/// more). The caller holds the volume's fill lock and is its only user.
/// Errors: of reading the layers and of writing; the volume is then as it was. Owners are kept
/// with CAP_CHOWN only, privileged xattrs where the system allows them.
/// Cost: all of the data; one syncfs(2).
Status fill_volume(ops::FileSystem& filesystem, const VolumeMount& volume, const FillIds& ids);

}  // namespace plyfs::fill
