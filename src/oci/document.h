// The JSON of images: index, manifest, config. Of unknown origin: nothing in it is believed but
// what is checked here.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plyfs/result.h"

namespace plyfs::oci {

using Json = nlohmann::ordered_json;

inline constexpr std::size_t kMostDocumentBytes = std::size_t{4} << 20U;

namespace media {
inline constexpr const char* kIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr const char* kManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr const char* kConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr const char* kLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr const char* kLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr const char* kLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr const char* kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr const char* kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr const char* kDockerConfig = "application/vnd.docker.container.image.v1+json";
}  // namespace media

struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
  [[nodiscard]] bool empty() const { return os.empty() && architecture.empty(); }
  /// "linux/arm64/v8"
  [[nodiscard]] std::string text() const;
};
/// nullopt for what is not OS/ARCH[/VARIANT].
std::optional<Platform> parse_platform(std::string_view text);
/// Of this machine, in the words of OCI.
Platform host_platform();
/// Whether an image of `offered` is one that was asked for; a missing variant is any.
bool fits(const Platform& offered, const Platform& wanted);

struct Descriptor {
  std::string media_type;
  std::string digest;  ///< a good one
  std::int64_t size_bytes = 0;
  Platform platform;
  std::map<std::string, std::string> annotations;
};

struct Manifest {
  std::string media_type;
  Descriptor config;
  std::vector<Descriptor> layers;
};

/// What is wrong with a document, for people; `why` is always filled with EPROTO.
using Why = std::string&;

/// An object or an array, not deeper than any image's. EPROTO.
Result<Json> parse_document(std::string_view text, Why why);
/// An index, whose entries may be indexes. `media_type` is what the descriptor said, if any.
Result<std::vector<Descriptor>> parse_index(const Json& json, const std::string& media_type,
                                            Why why);
Result<Manifest> parse_manifest(const Json& json, const std::string& media_type, Why why);
bool is_index(const Json& json);

/// What importing needs of a config.
struct ConfigFacts {
  Platform platform;
  std::vector<std::string> diff_ids;
};
Result<ConfigFacts> parse_config(const Json& json, Why why);

/// A member that is a string; empty where there is none, or of another type.
std::string text_member(const Json& json, const char* name);

}  // namespace plyfs::oci
