// Layers of the store back into tars.
#pragma once

#include <map>
#include <string>

#include "image/tree_writer.h"
#include "oci/image_store.h"

namespace plyfs::oci {

/// An image as it goes out: its documents, and where its blobs are.
struct OutgoingImage {
  ImageRecord record;
  std::string config;
  std::string manifest;
  std::map<std::string, std::string> blobs;  ///< path by digest
  bool repacked = false;  ///< some blobs were not kept: digests and id are others
};

/// What is kept goes out as it came; of other layers new tars are made in `stage`.
MaybeFailure outgoing(const ImageStore& store, const ImageRecord& image, const std::string& stage,
                      OutgoingImage& made);

}  // namespace plyfs::oci
