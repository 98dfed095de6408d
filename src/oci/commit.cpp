#include "oci/commit.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/scope_exit.h"
#include "config/failure_text.h"
#include "image/changes.h"
#include "image/tar_writer.h"
#include "oci/manifest.h"
#include "store/mounts.h"
#include "sys/durable_file.h"

namespace plyfs::oci {
namespace {

using config::system_failure;

Json empty_config() {
  const Platform host = host_platform();
  return Json{{"architecture", host.architecture},
              {"os", host.os},
              {"config", Json::object()},
              {"rootfs", {{"type", "layers"}, {"diff_ids", Json::array()}}},
              {"history", Json::array()}};
}

/// Each once, the topmost first, as a mount has them.
std::vector<std::string> as_mounted(const ImageStore& store, const ImageRecord& image) {
  std::vector<std::string> paths;
  for (auto layer = image.layers.rbegin(); layer != image.layers.rend(); ++layer) {
    std::string path = store::same_path(store.layer(layer->diff_id));
    if (std::ranges::find(paths, path) == paths.end()) {
      paths.push_back(std::move(path));
    }
  }
  return paths;
}

/// The image whose layers the stack stands on.
std::optional<ImageRecord> base_of(const ImageStore& store, const MountOptions& stack) {
  std::vector<std::string> lowers;
  for (const LayerPath& lower : stack.lowers) {
    lowers.push_back(store::same_path(lower.path));
  }
  for (ImageRecord& image : store.list_images()) {
    if ((stack.image.empty() || image.id == stack.image) && as_mounted(store, image) == lowers) {
      return std::move(image);
    }
  }
  return std::nullopt;
}

class Commit {
 public:
  Commit(const ImageStore& store, const dump::OpenStack& stack, const CommitOptions& options,
         CommittedImage& committed)
      : store_(store), stack_(stack), options_(options), committed_(committed) {}

  MaybeFailure run() {
    sys::UniqueFd alive;
    if (auto failure = store_.make_stage(stage_, alive)) {
      return failure;
    }
    const ScopeExit cleanup{[this] { (void)sys::remove_tree(stage_); }};
    base_ = base_of(store_, stack_.options());
    committed_.flattened = !base_;
    if (auto failure = write_layer()) {
      return failure;
    }
    Json config = empty_config();
    if (base_) {
      const auto document = store_.read_document_blob(base_->id);
      if (!document) {
        return system_failure({"cannot read the config of the image", base_->id, document.error(),
                               "import it again"});
      }
      config = *document;
    }
    if (auto failure = write_config(config)) {
      return failure;
    }
    return publish(config);
  }

 private:
  MaybeFailure write_layer() {
    Failure failure;
    std::string at;
    const auto write = [&]() -> Status {
      const auto writer = TRY(image::make_tar_writer(tar(), tar::Compression::kGzip));
      if (base_) {
        const auto changes = TRY(image::Changes::open(stack_, failure));
        TRY(image::commit(*changes, *writer, options_.progress, at));
      } else {
        const auto view = TRY(image::View::open(stack_));
        TRY(image::flatten(*view, *writer, options_.progress, at));
      }
      committed_.layer = writer->written();
      return {};
    };
    const Status written = write();
    if (written || !failure.what.empty()) {
      return failure.what.empty() ? MaybeFailure{} : MaybeFailure{failure};
    }
    return system_failure(
        {"cannot commit", at.empty() ? "stack" : "/" + at, written.error(),
         written.error() == ENODATA
             ? "name a stack with an upper and at least one lower layer"
             : "see 'plyfs-dump STACK verify' for what is wrong with the layers"});
  }

  MaybeFailure write_config(Json& config) {
    if (!config.contains("config") || !config["config"].is_object()) {
      config["config"] = Json::object();
    }
    for (const std::string& change : options_.changes) {
      if (!change_config(config["config"], change)) {
        return config::usage_failure({"bad change", change, Errno{EINVAL},
                                      "write ENV=K=V, CMD=[\"word\"], ENTRYPOINT=, WORKDIR=, "
                                      "USER=, LABEL=K=V, VOLUME=, EXPOSE= or STOPSIGNAL="});
      }
    }
    const std::string now = store::timestamp();
    config["created"] = now;
    if (!options_.author.empty()) {
      config["author"] = options_.author;
    }
    config["rootfs"]["diff_ids"].push_back(committed_.layer.diff_id);
    Json made{{"created", now}, {"created_by", "plyfs commit"}};
    if (!options_.author.empty()) {
      made["author"] = options_.author;
    }
    if (!options_.message.empty()) {
      made["comment"] = options_.message;
    }
    if (!config.contains("history") || !config["history"].is_array()) {
      config["history"] = Json::array();
    }
    config["history"].push_back(std::move(made));
    return std::nullopt;
  }

  MaybeFailure publish(const Json& config) {
    FoundImage made;
    try {
      made.config = config.dump();
    } catch (const Json::exception&) {
      return config::usage_failure({"bad text for an image", options_.message, Errno{EILSEQ},
                                    "its config holds UTF-8 only"});
    }
    made.config_digest = sha256_of(made.config);
    made.config_media_type = media::kConfig;
    made.manifest_media_type = media::kManifest;
    ImageRecord record;
    record.id = made.config_digest;
    if (base_) {
      record.layers = base_->layers;
    }
    record.layers.push_back({committed_.layer.diff_id, committed_.layer.digest,
                             static_cast<std::int64_t>(committed_.layer.size_bytes),
                             media::kLayerGzip});
    made.manifest = manifest_of(record, made.config.size());
    made.manifest_digest = sha256_of(made.manifest);
    made.facts.platform = {text_member(config, "os"), text_member(config, "architecture"),
                           text_member(config, "variant")};
    for (const ImageLayer& layer : record.layers) {
      made.facts.diff_ids.push_back(layer.diff_id);
      made.layers.push_back({Extent{nullptr, 0, layer.size_bytes}, layer.digest, layer.media_type});
    }
    const auto blob = open_extent(tar());
    if (!blob) {
      return system_failure({"cannot read the new layer", tar(), blob.error(), "commit again"});
    }
    made.layers.back().blob = *blob;
    ImportOptions options;
    options.path = options_.reference.text();
    options.reference = options_.reference;
    options.progress = [](std::uint64_t, std::uint64_t) {};
    std::vector<FoundImage> found;
    found.push_back(std::move(made));
    std::vector<ImportedImage> imported;
    if (auto failure = import_found(store_, stage_, std::move(found), options, imported)) {
      return failure;
    }
    committed_.record = imported.front().record;
    return std::nullopt;
  }

  [[nodiscard]] std::string tar() const { return stage_ + "/new.tar.gz"; }

  const ImageStore& store_;
  const dump::OpenStack& stack_;
  const CommitOptions& options_;
  CommittedImage& committed_;
  std::string stage_;
  std::optional<ImageRecord> base_;
};

/// A JSON list of words, or a line for the shell.
Json command_words(const std::string& text) {
  Json list = Json::parse(text, nullptr, false);
  const bool words = list.is_array() &&
                     std::ranges::all_of(list, [](const Json& word) { return word.is_string(); });
  return words ? list : Json::array({"/bin/sh", "-c", text});
}

Status set_variable_in(Json& list, const std::string& setting) {
  const std::size_t equals = setting.find('=');
  if (equals == 0 || equals == std::string::npos) {
    return Errno{EINVAL};
  }
  if (!list.is_array()) {
    list = Json::array();
  }
  const std::string name = setting.substr(0, equals + 1);
  for (Json& one : list) {
    if (one.is_string() && one.get_ref<const std::string&>().starts_with(name)) {
      one = setting;
      return {};
    }
  }
  list.push_back(setting);
  return {};
}

}  // namespace

Status change_config(Json& config, const std::string& change) {
  const std::size_t end = change.find_first_of("= ");
  if (end == std::string::npos || end == 0) {
    return Errno{EINVAL};
  }
  std::string word = change.substr(0, end);
  const std::string value = change.substr(end + 1);
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return std::toupper(c); });
  if (word == "ENV") {
    return set_variable_in(config["Env"], value);
  }
  if (word == "CMD" || word == "ENTRYPOINT") {
    const char* const member = word == "CMD" ? "Cmd" : "Entrypoint";
    value.empty() ? config[member] = nullptr : config[member] = command_words(value);
    return {};
  }
  if (word == "LABEL") {
    const std::size_t equals = value.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return Errno{EINVAL};
    }
    config["Labels"][value.substr(0, equals)] = value.substr(equals + 1);
    return {};
  }
  if (word == "VOLUME" || word == "EXPOSE") {
    config[word == "VOLUME" ? "Volumes" : "ExposedPorts"][value] = Json::object();
    return {};
  }
  static constexpr std::pair<const char*, const char*> kTexts[] = {
      {"WORKDIR", "WorkingDir"}, {"USER", "User"}, {"STOPSIGNAL", "StopSignal"}};
  for (const auto& [ours, member] : kTexts) {
    if (word == ours) {
      config[member] = value;
      return {};
    }
  }
  return Errno{EINVAL};
}

MaybeFailure commit_image(const ImageStore& store, const dump::OpenStack& stack,
                          const CommitOptions& options, CommittedImage& committed) {
  return Commit{store, stack, options, committed}.run();
}

}  // namespace plyfs::oci
