// Which images an archive or a directory holds, in each of the formats there are.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "oci/document.h"
#include "oci/source.h"
#include "plyfs/result.h"

namespace plyfs::oci {

struct LayerSource {
  Extent blob;
  std::string digest;  ///< as the manifest claims; empty: it claims none
  std::string media_type;
};

/// All documents are verified; of layers nothing was read yet.
struct FoundImage {
  std::vector<std::string> names;  ///< as the archive has them
  std::string config;              ///< the document
  std::string config_digest;
  std::string config_media_type;
  ConfigFacts facts;
  std::string manifest;  ///< the document; empty: the archive has none (docker-archive)
  std::string manifest_digest;
  std::string manifest_media_type;
  std::vector<LayerSource> layers;  ///< as many as there are diff_ids
};

struct FindTrouble {
  std::string where;  ///< a member of the archive
  std::string why;
};

struct FindRules {
  std::optional<Platform> platform;  ///< default: this machine's, but an only image is taken
  std::size_t most_layers = 0;
};

/// OCI layouts, also with nested indexes; docker-archives; skopeo's "dir". EPROTO for what is none
/// or is not what it claims, ENOENT for what is missing.
Result<std::vector<FoundImage>> find_images(const Source& source, const FindRules& rules,
                                            FindTrouble& trouble);

}  // namespace plyfs::oci
