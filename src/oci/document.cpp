#include "oci/document.h"

#include <algorithm>
#include <array>
#include <utility>

#include "oci/reference.h"

namespace plyfs::oci {
namespace {

constexpr int kMostDepth = 64;
constexpr std::size_t kMostEntries = 10'000;

Errno wrong(Why why, std::string text) {
  why = std::move(text);
  return Errno{EPROTO};
}

const Json* member(const Json& json, const char* name) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

Result<Descriptor> parse_descriptor(const Json& json, Why why) {
  Descriptor found;
  const Json* const size = member(json, "size");
  found.media_type = text_member(json, "mediaType");
  found.digest = text_member(json, "digest");
  if (!is_digest(found.digest)) {
    return wrong(why, "a descriptor has no sha256 digest");
  }
  if (size == nullptr || !size->is_number_integer() || *size < 0) {
    return wrong(why, "a descriptor has no size");
  }
  found.size_bytes = size->get<std::int64_t>();
  if (const Json* const platform = member(json, "platform")) {
    found.platform = {text_member(*platform, "os"), text_member(*platform, "architecture"),
                      text_member(*platform, "variant")};
  }
  if (const Json* const annotations = member(json, "annotations");
      annotations != nullptr && annotations->is_object()) {
    for (const auto& [name, value] : annotations->items()) {
      if (value.is_string()) {
        found.annotations.emplace(name, value.get<std::string>());
      }
    }
  }
  return found;
}

Result<std::vector<Descriptor>> parse_descriptors(const Json& list, Why why) {
  if (!list.is_array() || list.size() > kMostEntries) {
    return wrong(why, "a list of descriptors is none, or too long");
  }
  std::vector<Descriptor> found;
  for (const Json& one : list) {
    found.push_back(TRY(parse_descriptor(one, why)));
  }
  return found;
}

/// A document that two readers could take for two things (CVE-2021-41190), or that is another thing
/// than its descriptor says.
Status check_kind(const Json& json, const std::string& claimed, bool index, Why why) {
  const bool both =
      json.contains("manifests") && (json.contains("layers") || json.contains("config"));
  if (both) {
    return wrong(why, "it is an index and a manifest at once: do not trust this archive");
  }
  const std::string own = text_member(json, "mediaType");
  for (const std::string& type : {claimed, own}) {
    const bool says_index = type == media::kIndex || type == media::kDockerList;
    const bool says_manifest = type == media::kManifest || type == media::kDockerManifest;
    if ((says_index && !index) || (says_manifest && index)) {
      return wrong(why, "its media type is a lie: do not trust this archive");
    }
  }
  return {};
}

}  // namespace

std::string text_member(const Json& json, const char* name) {
  const Json* const found = member(json, name);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string{};
}

std::string Platform::text() const {
  return os + "/" + architecture + (variant.empty() ? "" : "/" + variant);
}

std::optional<Platform> parse_platform(std::string_view text) {
  std::array<std::string, 3> words;
  std::size_t count = 0;
  while (count < words.size()) {
    const std::size_t slash = std::min(text.find('/'), text.size());
    words[count++] = text.substr(0, slash);
    if (slash == text.size()) {
      break;
    }
    text.remove_prefix(slash + 1);
    if (count == words.size()) {
      return std::nullopt;
    }
  }
  if (count < 2 || std::any_of(words.begin(), words.begin() + static_cast<long>(count),
                               [](const std::string& word) { return word.empty(); })) {
    return std::nullopt;
  }
  return Platform{words[0], words[1], words[2]};
}

Platform host_platform() {
#if defined(__x86_64__)
  return {"linux", "amd64", ""};
#elif defined(__aarch64__)
  return {"linux", "arm64", ""};
#elif defined(__arm__)
  return {"linux", "arm", ""};
#elif defined(__i386__)
  return {"linux", "386", ""};
#elif defined(__powerpc64__)
  return {"linux", "ppc64le", ""};
#elif defined(__s390x__)
  return {"linux", "s390x", ""};
#else
  return {"linux", "riscv64", ""};
#endif
}

bool fits(const Platform& offered, const Platform& wanted) {
  return offered.os == wanted.os && offered.architecture == wanted.architecture &&
         (wanted.variant.empty() || offered.variant.empty() || offered.variant == wanted.variant);
}

Result<Json> parse_document(std::string_view text, Why why) {
  if (text.size() > kMostDocumentBytes) {
    return wrong(why, "it is longer than any image's: do not trust this archive");
  }
  bool too_deep = false;
  const Json::parser_callback_t look = [&](int depth, Json::parse_event_t /*event*/, Json&) {
    too_deep = too_deep || depth > kMostDepth;
    return !too_deep;
  };
  Json json = Json::parse(text, look, false);
  if (too_deep) {
    return wrong(why, "it is nested deeper than any image's: do not trust this archive");
  }
  if (json.is_discarded() || !(json.is_object() || json.is_array())) {
    return wrong(why, "it is no JSON: get the archive anew");
  }
  return json;
}

bool is_index(const Json& json) { return json.is_object() && json.contains("manifests"); }

Result<std::vector<Descriptor>> parse_index(const Json& json, const std::string& media_type,
                                            Why why) {
  if (!is_index(json)) {
    return wrong(why, "it is no index of images");
  }
  TRY(check_kind(json, media_type, true, why));
  return parse_descriptors(json["manifests"], why);
}

Result<Manifest> parse_manifest(const Json& json, const std::string& media_type, Why why) {
  const Json* const config = member(json, "config");
  const Json* const layers = member(json, "layers");
  TRY(check_kind(json, media_type, false, why));
  if (config == nullptr || layers == nullptr) {
    return wrong(why, "it is no manifest of an image");
  }
  Manifest found;
  found.media_type = text_member(json, "mediaType");
  found.config = TRY(parse_descriptor(*config, why));
  found.layers = TRY(parse_descriptors(*layers, why));
  const std::string& type = found.config.media_type;
  if (!type.empty() && type != media::kConfig && type != media::kDockerConfig) {
    return wrong(why, "it holds no image but " + type);
  }
  for (const Descriptor& layer : found.layers) {
    if (layer.media_type.ends_with("+encrypted")) {
      return wrong(why, "a layer is encrypted: decrypt the image with skopeo first");
    }
  }
  return found;
}

Result<ConfigFacts> parse_config(const Json& json, Why why) {
  ConfigFacts found;
  found.platform = {text_member(json, "os"), text_member(json, "architecture"),
                    text_member(json, "variant")};
  const Json* const rootfs = member(json, "rootfs");
  const Json* const ids = rootfs != nullptr ? member(*rootfs, "diff_ids") : nullptr;
  if (rootfs == nullptr || (ids != nullptr && !ids->is_array())) {
    return wrong(why, "it is no config of an image: rootfs is missing");
  }
  for (const Json& id : ids != nullptr ? *ids : Json::array()) {
    if (!id.is_string() || !is_digest(id.get_ref<const std::string&>())) {
      return wrong(why, "a diff_id is no sha256 digest");
    }
    found.diff_ids.push_back(id.get<std::string>());
  }
  return found;
}

}  // namespace plyfs::oci
