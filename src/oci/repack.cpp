#include "oci/repack.h"

#include <utility>

#include "config/failure_text.h"
#include "dump/open_stack.h"
#include "image/convert.h"
#include "image/tar_writer.h"
#include "oci/manifest.h"
#include "oci/source.h"

namespace plyfs::oci {
namespace {

using config::system_failure;

Result<ImageLayer> repack_layer(const ImageStore& store, const ImageLayer& layer,
                                const std::string& target, std::string& at) {
  MountOptions options;
  options.lowers.push_back({store.layer(layer.diff_id), false});
  Failure failure;
  const auto stack = dump::OpenStack::open(options, failure);
  if (!stack) {
    at = failure.what;
    return Errno{EIO};
  }
  const auto view = TRY(image::View::open(*stack));
  const auto writer = TRY(image::make_tar_writer(target, tar::Compression::kGzip));
  TRY(image::convert(
      *view, XattrNamespace::kProbe, image::LayerFormat::kAufs, *writer,
      [](const image::Written&) {}, at));
  const image::Written& written = writer->written();
  return ImageLayer{written.diff_id, written.digest, static_cast<std::int64_t>(written.size_bytes),
                    media::kLayerGzip};
}

}  // namespace

MaybeFailure outgoing(const ImageStore& store, const ImageRecord& image, const std::string& stage,
                      OutgoingImage& made) {
  made.record = image;
  auto config = store.read_document_blob(image.id);
  const auto text = open_extent(store.blob(image.id));
  const auto manifest = open_extent(store.blob(image.manifest));
  auto config_text = text ? read_extent(*text) : Result<std::string>{text.error()};
  auto manifest_text = manifest ? read_extent(*manifest) : Result<std::string>{manifest.error()};
  if (!config || !config_text || !manifest_text) {
    const Errno error = !config        ? config.error()
                        : !config_text ? config_text.error()
                                       : manifest_text.error();
    return system_failure({"cannot read the documents of an image", image.id, error,
                           "'plyfs image verify' tells what is wrong; import it again"});
  }
  made.config = *std::move(config_text);
  made.manifest = *std::move(manifest_text);
  for (ImageLayer& layer : made.record.layers) {
    if (store.has_blob(layer.digest)) {
      made.blobs[layer.digest] = store.blob(layer.digest);
      continue;
    }
    std::string at;
    const std::string target = stage + "/" + hex_of(layer.diff_id) + ".out.tar.gz";
    const auto packed = repack_layer(store, layer, target, at);
    if (!packed) {
      return system_failure({"cannot pack a layer", layer.diff_id + (at.empty() ? "" : ": /" + at),
                             packed.error(), "see 'plyfs image verify'"});
    }
    made.repacked = true;
    layer = *packed;
    made.blobs[layer.digest] = target;
  }
  if (made.repacked) {
    Json diff_ids = Json::array();
    for (const ImageLayer& layer : made.record.layers) {
      diff_ids.push_back(layer.diff_id);
    }
    (*config)["rootfs"]["diff_ids"] = std::move(diff_ids);
    made.config = config->dump();
    made.record.id = sha256_of(made.config);
    made.manifest = manifest_of(made.record, made.config.size());
    made.record.manifest = sha256_of(made.manifest);
    made.record.manifest_media_type = media::kManifest;
  }
  return std::nullopt;
}

}  // namespace plyfs::oci
