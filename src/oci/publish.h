// What is ready in the stage gets its place in the store.
#pragma once

#include <string>
#include <vector>

#include "oci/image_store.h"
#include "oci/layer_unpacker.h"

namespace plyfs::oci {

/// Directories without an entry of their own get owner, mode and times of what lies below them in
/// this image: they are not to change it. `below` has the layers' directories, the topmost first.
Status inherit_attributes(const std::string& layer, const std::vector<std::string>& implied,
                          const std::vector<std::string>& below);

/// Syncs what was staged, then moves a layer's directory, if it is given, and its blob. What
/// another import made meanwhile stays, and ours goes with the stage.
MaybeFailure publish_layer(const ImageStore& store, const LayerFacts& facts, Marks marks,
                           const std::string& directory, const std::string& blob);

/// rename(2), also of a directory whose mode shuts us out.
Status move_directory(const std::string& from, const std::string& to);

LayerRecord record_of(const LayerFacts& facts, Marks marks);

}  // namespace plyfs::oci
