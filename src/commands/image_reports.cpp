#include "commands/image_reports.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/text.h"
#include "commands/output.h"
#include "config/failure_text.h"
#include "store/home.h"

namespace plyfs::commands {
namespace {

using oci::Json;

constexpr std::size_t kShortId = 12;

std::string in_column(std::string text, std::size_t width) {
  text.resize(std::max(text.size() + 2, width), ' ');
  return text;
}

std::string short_id(const std::string& digest) { return oci::hex_of(digest).substr(0, kShortId); }

/// Bytes of contents of all layers.
std::uint64_t content_bytes(const oci::ImageStore& store, const oci::ImageRecord& image) {
  std::uint64_t bytes = 0;
  for (const oci::ImageLayer& layer : image.layers) {
    const auto record = store.read_layer(layer.diff_id);
    bytes += record ? record->bytes : 0;
  }
  return bytes;
}

std::vector<std::string> names_of_image(const std::vector<oci::NamedImage>& refs,
                                        const std::string& id) {
  std::vector<std::string> names;
  for (const oci::NamedImage& named : refs) {
    if (named.id == id) {
      names.push_back(named.reference.text());
    }
  }
  return names;
}

int fail_image(const Failure& failure) { return complain(kMainProgram, failure); }

int fail_document(const oci::ImageRecord& image, Errno error) {
  return fail_image(config::system_failure(
      {"cannot read the config of an image", image.id, error, "import the image again"}));
}

Json layers_json(const oci::ImageStore& store, const oci::ImageRecord& image) {
  Json layers = Json::array();
  for (const oci::ImageLayer& layer : image.layers) {
    Json one{{"DiffID", layer.diff_id},
             {"Digest", layer.digest},
             {"MediaType", layer.media_type},
             {"Size", layer.size_bytes},
             {"BlobKept", store.has_blob(layer.digest)},
             {"Directory", store.layer(layer.diff_id)}};
    if (const auto record = store.read_layer(layer.diff_id)) {
      one["Marks"] = record->marks;
      one["Entries"] = record->entries;
      one["ContentBytes"] = record->bytes;
      one["Whiteouts"] = record->whiteouts;
      one["OpaqueDirectories"] = record->opaque;
      one["OwnersSquashed"] = record->squashed;
      one["LeftOut"] = record->left_out_count;
    }
    layers.push_back(std::move(one));
  }
  return layers;
}

struct HistoryRow {
  std::string diff_id;  ///< empty: it made no layer
  std::uint64_t bytes = 0;
  std::string created;
  std::string created_by;
  std::string comment;
};

/// What made which layer; the newest first.
std::vector<HistoryRow> history_of(const oci::ImageStore& store, const oci::ImageRecord& image,
                                   const Json& config) {
  std::vector<HistoryRow> rows;
  std::size_t layer = 0;
  const auto give_layer = [&](HistoryRow& row) {
    if (layer < image.layers.size()) {
      row.diff_id = image.layers[layer++].diff_id;
      const auto record = store.read_layer(row.diff_id);
      row.bytes = record ? record->bytes : 0;
    }
  };
  const auto history = config.find("history");
  if (history != config.end() && history->is_array()) {
    for (const Json& one : *history) {
      HistoryRow row{"", 0, oci::text_member(one, "created"), oci::text_member(one, "created_by"),
                     oci::text_member(one, "comment")};
      const auto empty = one.is_object() ? one.find("empty_layer") : one.end();
      if (!one.is_object() || empty == one.end() || !empty->is_boolean() || !empty->get<bool>()) {
        give_layer(row);
      }
      rows.push_back(std::move(row));
    }
  }
  while (layer < image.layers.size()) {  // a history that tells less than there is
    give_layer(rows.emplace_back());
  }
  std::ranges::reverse(rows);
  return rows;
}

}  // namespace

int list_images(const oci::ImageStore& store, const ImageListWords& words) {
  const std::vector<oci::NamedImage> refs = store.list_refs();
  Json list = Json::array();
  std::string text =
      words.quiet ? ""
                  : in_column("NAME", 40) + in_column("ID", 14) + "LAYERS  SIZE        IMPORTED\n";
  for (const oci::ImageRecord& image : store.list_images()) {
    const std::uint64_t bytes = content_bytes(store, image);
    std::vector<std::string> names = names_of_image(refs, image.id);
    list.push_back({{"Id", image.id},
                    {"Names", names},
                    {"Platform", image.platform.text()},
                    {"Layers", image.layers.size()},
                    {"Size", bytes},
                    {"Imported", image.imported}});
    if (words.quiet) {
      text += image.id + "\n";
      continue;
    }
    if (names.empty()) {
      names.emplace_back("-");
    }
    for (const std::string& name : names) {
      text += in_column(name, 40) + in_column(short_id(image.id), 14) +
              in_column(std::to_string(image.layers.size()), 8) +
              in_column(human_bytes(bytes), 12) + image.imported + "\n";
    }
  }
  (void)write_out(words.json ? store::printed(list) : text);
  return finish_out(kMainProgram, 0);
}

int inspect_images(const oci::ImageStore& store, const std::vector<std::string>& names) {
  Json list = Json::array();
  const std::vector<oci::NamedImage> refs = store.list_refs();
  for (const std::string& name : names) {
    oci::ImageRecord image;
    if (const auto failure = store.resolve(name, "no such image", image)) {
      return fail_image(*failure);
    }
    const auto config = store.read_document_blob(image.id);
    if (!config) {
      return fail_document(image, config.error());
    }
    Json diff_ids = Json::array();
    for (const oci::ImageLayer& layer : image.layers) {
      diff_ids.push_back(layer.diff_id);
    }
    list.push_back({{"Id", image.id},
                    {"RepoTags", names_of_image(refs, image.id)},
                    {"Digest", image.manifest},
                    {"Created", oci::text_member(*config, "created")},
                    {"Author", oci::text_member(*config, "author")},
                    {"Os", image.platform.os},
                    {"Architecture", image.platform.architecture},
                    {"Variant", image.platform.variant},
                    {"Size", content_bytes(store, image)},
                    {"Imported", image.imported},
                    {"Config", config->value("config", Json::object())},
                    {"RootFS", {{"Type", "layers"}, {"Layers", std::move(diff_ids)}}},
                    {"Layers", layers_json(store, image)},
                    {"History", config->value("history", Json::array())}});
  }
  (void)write_out(store::printed(list));
  return finish_out(kMainProgram, 0);
}

int print_image_history(const oci::ImageStore& store, const std::string& name, bool json) {
  oci::ImageRecord image;
  if (const auto failure = store.resolve(name, "no such image", image)) {
    return fail_image(*failure);
  }
  const auto config = store.read_document_blob(image.id);
  if (!config) {
    return fail_document(image, config.error());
  }
  Json list = Json::array();
  std::string text =
      in_column("LAYER", 14) + in_column("SIZE", 12) + in_column("CREATED", 22) + "CREATED BY\n";
  for (const HistoryRow& row : history_of(store, image, *config)) {
    list.push_back({{"DiffID", row.diff_id},
                    {"Size", row.bytes},
                    {"Created", row.created},
                    {"CreatedBy", row.created_by},
                    {"Comment", row.comment}});
    text += in_column(row.diff_id.empty() ? "-" : short_id(row.diff_id), 14) +
            in_column(row.diff_id.empty() ? "-" : human_bytes(row.bytes), 12) +
            in_column(escaped(row.created.substr(0, 19)), 22) +
            escaped(row.created_by.empty() ? row.comment : row.created_by) + "\n";
  }
  (void)write_out(json ? store::printed(list) : text);
  return finish_out(kMainProgram, 0);
}

}  // namespace plyfs::commands
