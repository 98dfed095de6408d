#include "oci/export.h"

#include <set>
#include <utility>

#include "config/failure_text.h"
#include "oci/manifest.h"
#include "oci/source.h"
#include "sys/durable_file.h"
#include "tar/tar_output.h"

namespace plyfs::oci {
namespace {

FileStat plain_stat(mode_t mode) {
  FileStat stat;
  stat.mode = mode;
  stat.nlink = 1;
  return stat;
}

class Exporter {
 public:
  Exporter(tar::TarOutput& output, const std::string& stage, const ExportSink& sink)
      : output_(output), stage_(stage), sink_(sink) {}

  Status directory(const std::string& path) {
    const tar::Entry entry = TRY(tar::new_entry(path, plain_stat(kTypeDirectory | 0755)));
    return output_.write_header(entry.get());
  }

  Status file(const std::string& path, const std::string& from) {
    const Extent extent = TRY(open_extent(from));
    const tar::Entry entry = TRY(tar::new_entry(path, plain_stat(kTypeRegular | 0644)));
    archive_entry_set_size(entry.get(), extent.size_bytes);
    TRY(output_.write_header(entry.get()));
    return output_.write_data(extent.file->borrow(), extent.size_bytes, {},
                              [this](std::size_t bytes) { sink_.progress(done_ += bytes); });
  }

  /// A tar's content comes from files only.
  Status text(const std::string& path, const std::string& content) {
    const std::string aside = stage_ + "/document";
    TRY(sys::write_durably(aside, content));
    return file(path, aside);
  }

 private:
  tar::TarOutput& output_;
  const std::string& stage_;
  const ExportSink& sink_;
  std::uint64_t done_ = 0;
};

Status write_oci(const OutgoingImage& image, const std::vector<Reference>& names,
                 Exporter& exporter) {
  const std::string blobs = "blobs/sha256";
  TRY(exporter.directory("blobs"));
  TRY(exporter.directory(blobs));
  TRY(exporter.text(blobs + "/" + hex_of(image.record.id), image.config));
  TRY(exporter.text(blobs + "/" + hex_of(image.record.manifest), image.manifest));
  for (const auto& [digest, path] : image.blobs) {
    TRY(exporter.file(blobs + "/" + hex_of(digest), path));
  }
  Json manifests = Json::array();
  const Json plain{{"mediaType", image.record.manifest_media_type.empty()
                                     ? media::kManifest
                                     : image.record.manifest_media_type.c_str()},
                   {"digest", image.record.manifest},
                   {"size", image.manifest.size()}};
  for (const Reference& name : names) {
    Json one = plain;
    one["annotations"] = {{"org.opencontainers.image.ref.name", name.text()}};
    manifests.push_back(std::move(one));
  }
  if (names.empty()) {
    manifests.push_back(plain);
  }
  TRY(exporter.text(
      "index.json",
      Json{{"schemaVersion", 2}, {"mediaType", media::kIndex}, {"manifests", std::move(manifests)}}
          .dump()));
  return exporter.text("oci-layout", Json{{"imageLayoutVersion", "1.0.0"}}.dump());
}

Status write_docker(const OutgoingImage& image, const std::vector<Reference>& names,
                    Exporter& exporter) {
  const std::string config = hex_of(image.record.id) + ".json";
  Json layers = Json::array();
  Json tags = Json::array();
  std::set<std::string> written;
  for (const ImageLayer& layer : image.record.layers) {
    const std::string name = hex_of(layer.diff_id) + ".tar";
    layers.push_back(name);
    if (written.insert(name).second) {
      TRY(exporter.file(name, image.blobs.at(layer.digest)));
    }
  }
  for (const Reference& name : names) {
    tags.push_back(name.text());
  }
  TRY(exporter.text(config, image.config));
  return exporter.text(
      "manifest.json",
      Json::array(
          {{{"Config", config}, {"RepoTags", std::move(tags)}, {"Layers", std::move(layers)}}})
          .dump());
}

}  // namespace

MaybeFailure export_image(const OutgoingImage& image, const std::vector<Reference>& names,
                          ArchiveFormat format, const std::string& stage, const ExportSink& sink) {
  const auto write = [&]() -> Status {
    const auto output = TRY(tar::TarOutput::open(tar::Compression::kNone, {}, sink.write));
    Exporter exporter{*output, stage, sink};
    TRY(format == ArchiveFormat::kOci ? write_oci(image, names, exporter)
                                      : write_docker(image, names, exporter));
    return output->finish();
  };
  const Status written = write();
  if (written) {
    return std::nullopt;
  }
  return config::system_failure({"cannot export an image", image.record.id, written.error(),
                                 "free some space where it is written"});
}

}  // namespace plyfs::oci
