// An image as a stack: its layers, and what its config says about running it.
#pragma once

#include <string>
#include <vector>

#include "oci/image_store.h"
#include "plyfs/options.h"
#include "plyfs/run_defaults.h"
#include "sys/unique_fd.h"

namespace plyfs::oci {

struct ImageStack {
  ImageRecord image;
  std::vector<LayerPath> layers;  ///< first is the topmost; each once
  RunDefaults defaults;
  sys::UniqueFd held;  ///< keeps the image while it lives
};

MaybeFailure open_image(const ImageStore& store, const std::string& name, ImageStack& stack);

/// Puts the image that `options.image` names below the layers that are there, and, if wanted, its
/// volumes beside those that were asked for. Afterwards `options.image` is the image's digest.
enum class WithVolumes : unsigned char { kNo, kYes };
void add_image(const ImageStack& stack, WithVolumes volumes, MountOptions& options);

}  // namespace plyfs::oci
