#include "oci/archive_images.h"

#include <algorithm>
#include <utility>

#include "oci/manifest.h"
#include "oci/reference.h"

namespace plyfs::oci {
namespace {

constexpr const char* kLayoutIndex = "index.json";
constexpr const char* kDockerIndex = "manifest.json";  // skopeo's "dir" has another one there
constexpr const char* kContainerdName = "io.containerd.image.name";
constexpr const char* kRefName = "org.opencontainers.image.ref.name";
constexpr const char* kAttestation = "vnd.docker.reference.type";
constexpr int kMostNested = 8;
constexpr std::size_t kMostImages = 1000;

class Finder {
 public:
  Finder(const Source& source, const FindRules& rules, FindTrouble& trouble)
      : source_(source),
        rules_(rules),
        wanted_(rules.platform.value_or(host_platform())),
        trouble_(trouble) {}

  Result<std::vector<FoundImage>> run() {
    if (source_.has(kLayoutIndex)) {
      TRY(find_layout());
    } else if (source_.has(kDockerIndex)) {
      TRY(find_docker());
    } else {
      trouble_.where.clear();
      return wrong("neither index.json nor manifest.json is in it: it is no image");
    }
    if (images_.empty()) {
      trouble_.where = kLayoutIndex;
      return wrong("it holds no image");
    }
    return std::move(images_);
  }

 private:
  Errno wrong(std::string why) {
    trouble_.why = std::move(why);
    return Errno{EPROTO};
  }

  [[nodiscard]] std::string blob_name(const std::string& digest) const {
    return is_directory_format_ ? hex_of(digest) : "blobs/sha256/" + hex_of(digest);
  }

  Result<std::string> read(const std::string& name) {
    trouble_.where = name;
    return source_.read_document(name);
  }

  /// A document by its digest, which must be right.
  Result<std::string> read_blob(const Descriptor& descriptor) {
    std::string text = TRY(read(blob_name(descriptor.digest)));
    if (sha256_of(text) != descriptor.digest ||
        static_cast<std::int64_t>(text.size()) != descriptor.size_bytes) {
      return wrong("its digest or size is another than claimed: do not trust this archive");
    }
    return text;
  }

  /// What this machine can use of an index.
  Result<std::vector<Descriptor>> choose(std::vector<Descriptor> offered) {
    std::erase_if(offered, [](const Descriptor& one) {
      return one.annotations.contains(kAttestation) || one.platform.os == "unknown";
    });
    const auto is_other = [&](const Descriptor& one) {
      return !one.platform.empty() && !fits(one.platform, wanted_);
    };
    const bool only_others = !offered.empty() && std::ranges::all_of(offered, is_other);
    if (only_others && (offered.size() > 1 || rules_.platform)) {
      std::string list;
      for (const Descriptor& one : offered) {
        list += (list.empty() ? "" : ", ") + one.platform.text();
      }
      return wrong("it has no image for " + wanted_.text() + " but for " + list +
                   ": choose by --platform");
    }
    if (!only_others) {
      std::erase_if(offered, is_other);
    }
    return offered;
  }

  Status find_layout() {
    const std::string text = TRY(read(kLayoutIndex));
    const Json json = TRY(parse_document(text, trouble_.why));
    for (const Descriptor& one : TRY(choose(TRY(parse_index(json, "", trouble_.why))))) {
      TRY(follow(one, one.annotations, 0));
    }
    return {};
  }

  Status follow(const Descriptor& descriptor, const std::map<std::string, std::string>& annotations,
                int depth) {
    const std::string text = TRY(read_blob(descriptor));
    const Json json = TRY(parse_document(text, trouble_.why));
    if (!is_index(json)) {
      return add_manifest(text, json, descriptor.digest, descriptor.media_type, annotations);
    }
    if (depth == kMostNested) {
      return wrong("indexes are nested deeper than is allowed: do not trust this archive");
    }
    const auto chosen = TRY(choose(TRY(parse_index(json, descriptor.media_type, trouble_.why))));
    if (chosen.empty()) {
      return wrong("it holds no image");
    }
    return follow(chosen.front(), annotations, depth + 1);
  }

  Status add_manifest(const std::string& text, const Json& json, const std::string& digest,
                      const std::string& media_type,
                      const std::map<std::string, std::string>& annotations) {
    const Manifest manifest = TRY(parse_manifest(json, media_type, trouble_.why));
    FoundImage found;
    found.manifest = text;
    found.manifest_digest = digest;
    found.manifest_media_type = manifest.media_type.empty() ? media_type : manifest.media_type;
    found.config_media_type = manifest.config.media_type;
    found.config_digest = manifest.config.digest;
    found.config = TRY(read_blob(manifest.config));
    for (const char* const key : {kContainerdName, kRefName}) {
      if (const auto name = annotations.find(key); name != annotations.end()) {
        found.names.push_back(name->second);
        break;
      }
    }
    for (const Descriptor& layer : manifest.layers) {
      trouble_.where = blob_name(layer.digest);
      const Extent blob = TRY(source_.find(trouble_.where));
      if (blob.size_bytes != layer.size_bytes) {
        return wrong("its size is another than claimed: it is cut off, or do not trust it");
      }
      found.layers.push_back({blob, layer.digest, layer.media_type});
    }
    return add(std::move(found));
  }

  Status find_docker() {
    const std::string text = TRY(read(kDockerIndex));
    const Json json = TRY(parse_document(text, trouble_.why));
    if (json.is_object()) {
      is_directory_format_ = true;
      if (is_index(json)) {
        return wrong("it has images for several platforms: copy one with skopeo");
      }
      return add_manifest(text, json, sha256_of(text), text_member(json, "mediaType"), {});
    }
    if (json.size() > kMostImages) {
      return wrong("it holds more images than are allowed");
    }
    for (const Json& one : json) {
      TRY(add_docker(one));
    }
    return {};
  }

  Status add_docker(const Json& one) {
    FoundImage found;
    const std::string config = text_member(one, "Config");
    const auto layers = one.is_object() ? one.find("Layers") : one.end();
    if (config.empty() || layers == one.end() || !(layers->is_array() || layers->is_null())) {
      return wrong("it is no list of docker's images");
    }
    if (const auto tags = one.find("RepoTags"); tags != one.end() && tags->is_array()) {
      for (const Json& tag : *tags) {
        if (tag.is_string()) {
          found.names.push_back(tag.get<std::string>());
        }
      }
    }
    found.config = TRY(read(config));
    found.config_digest = sha256_of(found.config);
    found.config_media_type = media::kConfig;
    for (const Json& layer : layers->is_array() ? *layers : Json::array()) {
      if (!layer.is_string()) {
        return wrong("a layer has no name");
      }
      trouble_.where = layer.get<std::string>();
      found.layers.push_back({TRY(source_.find(trouble_.where)), "", ""});
    }
    trouble_.where = config;
    return add(std::move(found));
  }

  Status add(FoundImage found) {
    const auto same = std::ranges::find_if(images_, [&](const FoundImage& other) {
      return other.config_digest == found.config_digest &&
             other.manifest_digest == found.manifest_digest;
    });
    if (same != images_.end()) {
      same->names.insert(same->names.end(), found.names.begin(), found.names.end());
      return {};
    }
    if (images_.size() == kMostImages) {
      return wrong("it holds more images than are allowed");
    }
    const Json config = TRY(parse_document(found.config, trouble_.why));
    found.facts = TRY(parse_config(config, trouble_.why));
    if (found.facts.diff_ids.size() != found.layers.size()) {
      return wrong("the config names another number of layers than there are: do not trust it");
    }
    if (found.layers.size() > rules_.most_layers) {
      return wrong("it has " + std::to_string(found.layers.size()) +
                   " layers: --max-layers allows more");
    }
    if (rules_.platform && !found.facts.platform.empty() &&
        !fits(found.facts.platform, *rules_.platform)) {
      return wrong("it is an image for " + found.facts.platform.text());
    }
    images_.push_back(std::move(found));
    return {};
  }

  const Source& source_;
  const FindRules& rules_;
  const Platform wanted_;
  FindTrouble& trouble_;
  bool is_directory_format_ = false;
  std::vector<FoundImage> images_;
};

}  // namespace

Result<std::vector<FoundImage>> find_images(const Source& source, const FindRules& rules,
                                            FindTrouble& trouble) {
  return Finder{source, rules, trouble}.run();
}

}  // namespace plyfs::oci
