#include "oci/image_store.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "config/failure_text.h"
#include "image/sha256.h"
#include "oci/source.h"
#include "sys/durable_file.h"
#include "sys/open.h"

namespace plyfs::oci {
namespace {

namespace fs = std::filesystem;
using config::system_failure;
using store::Hidden;
using store::names_in;

constexpr const char* kStagePrefix = ".import-";
constexpr const char* kRecordEnd = ".json";
constexpr std::size_t kShortestId = 4;

std::error_code make_own(const std::string& path) {
  std::error_code error;
  if (fs::create_directories(path, error)) {
    fs::permissions(path, fs::perms::owner_all, error);
  }
  return error;
}

Status take_lock(const std::string& path, sys::LockKind kind, sys::UniqueFd& held) {
  held = TRY(sys::open_lock_file(path));
  return sys::lock_file(held.borrow(), kind, sys::LockWait::kNo);
}

/// What was being made by somebody who is gone.
void remove_dead_stages(const std::string& stages) {
  for (const std::string& name : names_in(stages, Hidden::kYes)) {
    sys::UniqueFd lock;
    const std::string path = stages + "/" + name;
    if (name.starts_with(kStagePrefix) &&
        take_lock(path + "/lock", sys::LockKind::kExclusive, lock)) {
      (void)sys::remove_tree(path);  // the next one tries again
    }
  }
}

std::uint64_t number(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

Json as_json(const ImageRecord& record) {
  Json layers = Json::array();
  for (const ImageLayer& layer : record.layers) {
    layers.push_back({{"diff_id", layer.diff_id},
                      {"digest", layer.digest},
                      {"size", layer.size_bytes},
                      {"media_type", layer.media_type}});
  }
  return Json{{"schema", 1},
              {"id", record.id},
              {"manifest", record.manifest},
              {"manifest_media_type", record.manifest_media_type},
              {"config_media_type", record.config_media_type},
              {"platform", record.platform.text()},
              {"imported", record.imported},
              {"blobs", record.blobs},
              {"layers", std::move(layers)}};
}

Result<ImageRecord> image_of(const Json& json) {
  ImageRecord record;
  record.id = text_member(json, "id");
  record.manifest = text_member(json, "manifest");
  record.manifest_media_type = text_member(json, "manifest_media_type");
  record.config_media_type = text_member(json, "config_media_type");
  record.platform = parse_platform(text_member(json, "platform")).value_or(Platform{});
  record.imported = text_member(json, "imported");
  record.blobs = json.value("blobs", false);
  const auto layers = json.find("layers");
  if (!is_digest(record.id) || !is_digest(record.manifest) || layers == json.end() ||
      !layers->is_array()) {
    return Errno{EPROTO};
  }
  for (const Json& one : *layers) {
    ImageLayer layer{text_member(one, "diff_id"), text_member(one, "digest"),
                     static_cast<std::int64_t>(number(one, "size")),
                     text_member(one, "media_type")};
    if (!is_digest(layer.diff_id) || !is_digest(layer.digest)) {
      return Errno{EPROTO};
    }
    record.layers.push_back(std::move(layer));
  }
  return record;
}

}  // namespace

MaybeFailure ImageStore::find(ImageStore& store) { return store::Home::find(store.home_); }

MaybeFailure ImageStore::lock(sys::UniqueFd& held) const {
  if (auto failure = home_.lock(held)) {
    return failure;
  }
  for (const std::string& path :
       {stages(), layers(), home_.path() + "/blobs", blobs(), images(), refs()}) {
    if (const std::error_code error = make_own(path)) {
      return system_failure({"cannot make the image store", path, Errno{error.value()},
                             "set PLYFS_HOME to a directory of yours"});
    }
  }
  remove_dead_stages(stages());
  return std::nullopt;
}

MaybeFailure ImageStore::make_stage(std::string& path, sys::UniqueFd& alive) const {
  sys::UniqueFd held;
  if (auto failure = lock(held)) {
    return failure;
  }
  const auto random = sys::random_hex(8);
  path = stages() + "/" + kStagePrefix + random.value_or("");
  std::error_code error = random ? make_own(path) : std::error_code{};
  const Status taken = !random ? Status{random.error()}
                       : error ? Status{Errno{error.value()}}
                               : take_lock(path + "/lock", sys::LockKind::kExclusive, alive);
  if (!taken) {
    return system_failure({"cannot make a directory in the image store", path, taken.error(),
                           "make the store writable for you, or set PLYFS_HOME"});
  }
  return std::nullopt;
}

bool ImageStore::has_other_stage(const std::string& ours) const {
  // lock() has removed those of the dead.
  return std::ranges::any_of(names_in(stages(), Hidden::kYes), [&](const std::string& name) {
    return name.starts_with(kStagePrefix) && stages() + "/" + name != ours;
  });
}

bool ImageStore::has_layer(const std::string& diff_id) const {
  return read_layer(diff_id).has_value();
}

bool ImageStore::has_blob(const std::string& digest) const {
  std::error_code error;
  return fs::is_regular_file(blob(digest), error);
}

Result<LayerRecord> ImageStore::read_layer(const std::string& diff_id) const {
  const Json json = TRY(store::read_json(layer(diff_id) + kRecordEnd));
  LayerRecord record;
  record.diff_id = text_member(json, "diff_id");
  record.marks = text_member(json, "marks");
  record.entries = number(json, "entries");
  record.bytes = number(json, "bytes");
  record.whiteouts = number(json, "whiteouts");
  record.opaque = number(json, "opaque");
  record.squashed = number(json, "squashed");
  record.left_out_count = number(json, "left_out_count");
  if (const auto list = json.find("left_out"); list != json.end() && list->is_array()) {
    for (const Json& one : *list) {
      record.left_out.emplace_back(text_member(one, "path"), text_member(one, "what"));
    }
  }
  return record.diff_id == diff_id ? Result<LayerRecord>{std::move(record)} : Errno{EPROTO};
}

Status ImageStore::write_layer(const LayerRecord& record) const {
  Json left_out = Json::array();
  for (const auto& [path, what] : record.left_out) {
    left_out.push_back({{"path", config::shown(path)}, {"what", config::shown(what)}});
  }
  return store::write_json(layer(record.diff_id) + kRecordEnd,
                           Json{{"schema", 1},
                                {"diff_id", record.diff_id},
                                {"marks", record.marks},
                                {"entries", record.entries},
                                {"bytes", record.bytes},
                                {"whiteouts", record.whiteouts},
                                {"opaque", record.opaque},
                                {"squashed", record.squashed},
                                {"left_out_count", record.left_out_count},
                                {"left_out", std::move(left_out)}});
}

Result<ImageRecord> ImageStore::read_image(const std::string& id) const {
  ImageRecord record = TRY(image_of(TRY(store::read_json(image(id)))));
  return record.id == id ? Result<ImageRecord>{std::move(record)} : Errno{EPROTO};
}

Status ImageStore::write_image(const ImageRecord& record) const {
  return store::write_json(image(record.id), as_json(record));
}

Result<std::string> ImageStore::read_ref(const Reference& reference) const {
  const Json json = TRY(store::read_json(ref(reference)));
  std::string id = text_member(json, "id");
  return is_digest(id) ? Result<std::string>{std::move(id)} : Errno{EPROTO};
}

Status ImageStore::write_ref(const Reference& reference, const std::string& id) const {
  return store::write_json(ref(reference), Json{{"id", id}, {"since", store::timestamp()}});
}

Status ImageStore::write_blob(const std::string& digest, const std::string& content) const {
  return has_blob(digest) ? Status{} : sys::write_durably(blob(digest), content);
}

Result<Json> ImageStore::read_document_blob(const std::string& digest) const {
  const std::string text = TRY(read_extent(TRY(open_extent(blob(digest)))));
  image::Sha256 hash;
  hash.add(text);
  std::string why;
  if (hash.finish() != digest) {
    return Errno{EPROTO};
  }
  return parse_document(text, why);
}

std::vector<ImageRecord> ImageStore::list_images() const {
  std::vector<ImageRecord> found;
  for (const std::string& name : names_in(images(), Hidden::kNo)) {
    const std::string id = "sha256:" + name.substr(0, name.rfind('.'));
    if (name.ends_with(kRecordEnd) && is_digest(id)) {
      if (auto record = read_image(id)) {
        found.push_back(*std::move(record));
      }
    }
  }
  return found;
}

std::vector<NamedImage> ImageStore::list_refs() const {
  std::vector<NamedImage> found;
  for (const std::string& name : names_in(refs(), Hidden::kNo)) {
    const auto reference = name.ends_with(kRecordEnd)
                               ? reference_of_file(name.substr(0, name.size() - 5))
                               : std::nullopt;
    if (reference) {
      if (auto id = read_ref(*reference)) {
        found.push_back({*reference, *std::move(id)});
      }
    }
  }
  return found;
}

Result<ImageRecord> ImageStore::resolve(const std::string& asked) const {
  std::vector<std::string> ids;
  if (const auto reference = parse_reference(asked)) {
    if (const auto id = read_ref(*reference)) {
      return read_image(*id);
    }
    for (const NamedImage& named : list_refs()) {
      if (is_meant(named.reference, *reference)) {
        ids.push_back(named.id);
      }
    }
  }
  const std::string hex = asked.starts_with("sha256:") ? asked.substr(7) : asked;
  if (ids.empty() && hex.size() >= kShortestId) {
    for (const ImageRecord& record : list_images()) {
      if (hex_of(record.id).starts_with(hex)) {
        ids.push_back(record.id);
      }
    }
  }
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.empty()) {
    return Errno{ENOENT};
  }
  return ids.size() == 1 ? read_image(ids.front()) : Errno{ENOTUNIQ};
}

MaybeFailure ImageStore::resolve(const std::string& asked, const char* what,
                                 ImageRecord& image) const {
  auto found = resolve(asked);
  if (found) {
    image = *std::move(found);
    return std::nullopt;
  }
  return system_failure({what, asked, found.error(),
                         found.error() == ENOTUNIQ
                             ? "several images are meant: write the name as 'plyfs image ls' has it"
                             : "'plyfs image ls' shows those there are; 'plyfs image import' gets "
                               "one from a file"});
}

Status ImageStore::hold(const std::string& id, sys::UniqueFd& held) const {
  TRY(take_lock(use_file(id), sys::LockKind::kShared, held));
  std::error_code error;
  return fs::exists(image(id), error) ? Status{} : Errno{ENOENT};
}

Status ImageStore::claim(const std::string& id, sys::UniqueFd& held) const {
  return take_lock(use_file(id), sys::LockKind::kExclusive, held);
}

Result<sys::UniqueFd> make_private_directory(const std::string& path) {
  if (const std::error_code error = make_own(path)) {
    return Errno{error.value()};
  }
  return sys::open_directory_path(path.c_str());
}

}  // namespace plyfs::oci
