// Images from an archive into the store: all of an image or nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "oci/archive_images.h"
#include "oci/blob_stream.h"
#include "oci/image_store.h"
#include "oci/layer_jobs.h"

namespace plyfs::oci {

struct ImportLimits {
  std::int64_t bytes = std::int64_t{128} << 30U;  ///< unpacked, of all layers together
  std::int64_t entries = 10'000'000;
  std::size_t depth = 256;  ///< of directories
  std::size_t layers = 500;
};

struct ImportOptions {
  std::string path;  ///< "-": standard input
  std::optional<Reference> reference;
  std::string select;  ///< which of the archive's images, by its name there; empty: all
  std::optional<Platform> platform;
  bool keep_blobs = true;
  unsigned threads = 1;
  ImportLimits limits;
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress;
};

struct ImportedImage {
  ImageRecord record;
  std::vector<Reference> references;
  std::vector<std::string> bad_names;  ///< of the archive's names, those that are none
  std::vector<LayerRecord> new_layers;
  std::size_t layers_there = 0;  ///< that the store had already
  bool other_platform = false;
};

/// Layers that were unpacked before it failed stay for the next attempt ('plyfs image prune'
/// removes them); names and images appear when all of one is there.
MaybeFailure import_images(const ImageStore& store, const ImportOptions& options,
                           std::vector<ImportedImage>& imported);

/// The same of images that somebody else found or made. A layer whose blob has no file is in the
/// store. `stage` is one of the store's; what the images' extents lie in must stay until then.
MaybeFailure import_found(const ImageStore& store, const std::string& stage,
                          std::vector<FoundImage> found, const ImportOptions& options,
                          std::vector<ImportedImage>& imported);

}  // namespace plyfs::oci
