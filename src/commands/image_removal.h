// plyfs image rm and prune.
#pragma once

#include <string>
#include <vector>

#include "oci/image_store.h"

namespace plyfs::commands {

int remove_images(const oci::ImageStore& store, const std::vector<std::string>& names, bool force);
int prune_images(const oci::ImageStore& store, bool all);

}  // namespace plyfs::commands
