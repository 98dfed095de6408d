// plyfs image ls, inspect and history.
#pragma once

#include <string>
#include <vector>

#include "oci/image_store.h"

namespace plyfs::commands {

struct ImageListWords {
  bool quiet = false;
  bool json = false;
};

int list_images(const oci::ImageStore& store, const ImageListWords& words);
/// docker's keys, and ours.
int inspect_images(const oci::ImageStore& store, const std::vector<std::string>& names);
int print_image_history(const oci::ImageStore& store, const std::string& name, bool json);

}  // namespace plyfs::commands
