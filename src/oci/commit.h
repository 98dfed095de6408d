// What an upper changed, as a new image.
#pragma once

#include <string>
#include <vector>

#include "dump/open_stack.h"
#include "image/tree_writer.h"
#include "oci/import.h"

namespace plyfs::oci {

struct CommitOptions {
  Reference reference;
  std::string message;
  std::string author;
  std::vector<std::string> changes;  ///< "ENV=A=1", "CMD=[\"sh\"]", as of a Dockerfile
  image::Progress progress;
};

struct CommittedImage {
  ImageRecord record;
  image::Written layer;
  bool flattened = false;  ///< the layers below are of no image: all became one layer
};

/// On the layers of an image of the store that layer comes which the upper is; else all that the
/// stack shows becomes one. The upper stays as it is.
MaybeFailure commit_image(const ImageStore& store, const dump::OpenStack& stack,
                          const CommitOptions& options, CommittedImage& committed);

/// Applies one of `changes` to the "config" member of a config. EINVAL.
Status change_config(Json& config, const std::string& change);

}  // namespace plyfs::oci
