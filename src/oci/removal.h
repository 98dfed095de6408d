// Images out of the store, and what nobody needs any more.
#pragma once

#include <string>
#include <vector>

#include "oci/image_store.h"

namespace plyfs::oci {

struct Removed {
  std::vector<std::string> names;   ///< NAME:TAG
  std::vector<std::string> images;  ///< ids
  std::size_t layers = 0;
  std::size_t blobs = 0;
  bool left_layers = false;  ///< an import was going on: what it may need stays until 'prune'
};

/// Takes a name off an image; with its last name, or by its id, the image itself, and the layers
/// that no other image has. EBUSY while a mount uses it, and for an id with several names, unless
/// `force`, which does not remove what is mounted either.
MaybeFailure remove_image(const ImageStore& store, const std::string& asked, bool force,
                          Removed& removed);

/// Layers and blobs that belong to no image; images without a name, too, unless something uses
/// them; with `all` all images that nothing uses.
MaybeFailure prune(const ImageStore& store, bool all, Removed& removed);

/// Who uses an image, for people; empty: nobody. Needs the store's lock.
std::string users_of(const ImageStore& store, const ImageRecord& image);

}  // namespace plyfs::oci
