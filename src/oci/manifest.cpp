#include "oci/manifest.h"

#include <utility>

#include "image/sha256.h"

namespace plyfs::oci {

std::string manifest_of(const ImageRecord& record, std::size_t config_bytes) {
  Json layers = Json::array();
  for (const ImageLayer& layer : record.layers) {
    layers.push_back(
        {{"mediaType", layer.media_type}, {"digest", layer.digest}, {"size", layer.size_bytes}});
  }
  return Json{
      {"schemaVersion", 2},
      {"mediaType", media::kManifest},
      {"config", {{"mediaType", media::kConfig}, {"digest", record.id}, {"size", config_bytes}}},
      {"layers", std::move(layers)}}
      .dump();
}

std::string sha256_of(const std::string& text) {
  image::Sha256 hash;
  hash.add(text);
  return hash.finish();
}

}  // namespace plyfs::oci
