// What $PLYFS_HOME knows of images: layers, blobs, images by their config's digest, and names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "oci/document.h"
#include "oci/reference.h"
#include "plyfs/mount.h"
#include "plyfs/result.h"
#include "store/home.h"
#include "sys/unique_fd.h"

namespace plyfs::oci {

using MaybeFailure = std::optional<Failure>;

/// A layer of an image, as its blob and as its directory.
struct ImageLayer {
  std::string diff_id;
  std::string digest;  ///< of the blob
  std::int64_t size_bytes = 0;
  std::string media_type;
  friend bool operator==(const ImageLayer&, const ImageLayer&) = default;
};

struct ImageRecord {
  std::string id;  ///< the digest of the config
  std::string manifest;
  std::string manifest_media_type;
  std::string config_media_type;
  std::vector<ImageLayer> layers;  ///< the lowest first, as in the config
  Platform platform;
  std::string imported;
  bool blobs = true;  ///< the blobs of the layers were kept
};

/// What is known of a layer's directory.
struct LayerRecord {
  std::string diff_id;
  std::string marks;  ///< word_of(Marks)
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t whiteouts = 0;
  std::uint64_t opaque = 0;
  std::uint64_t squashed = 0;
  std::uint64_t left_out_count = 0;
  std::vector<std::pair<std::string, std::string>> left_out;
};

struct NamedImage {
  Reference reference;
  std::string id;
};

/// HOME/layers/sha256/HEX with HEX.json beside (which makes it count), HOME/blobs/sha256/HEX,
/// HOME/images/HEX.json, HOME/refs/NAME:TAG.json. All 0700. What is being made is in
/// HOME/layers/.import-RANDOM, whose lock its process holds. Immutable but for what it finds.
class ImageStore {
 public:
  static MaybeFailure find(ImageStore& store);

  [[nodiscard]] const store::Home& home() const { return home_; }
  [[nodiscard]] std::string layers() const { return home_.path() + "/layers/sha256"; }
  [[nodiscard]] std::string layer(const std::string& diff_id) const {
    return layers() + "/" + hex_of(diff_id);
  }
  [[nodiscard]] std::string blobs() const { return home_.path() + "/blobs/sha256"; }
  [[nodiscard]] std::string blob(const std::string& digest) const {
    return blobs() + "/" + hex_of(digest);
  }
  [[nodiscard]] std::string images() const { return home_.path() + "/images"; }
  [[nodiscard]] std::string image(const std::string& id) const {
    return images() + "/" + hex_of(id) + ".json";
  }
  [[nodiscard]] std::string refs() const { return home_.path() + "/refs"; }
  [[nodiscard]] std::string ref(const Reference& reference) const {
    return refs() + "/" + file_name_of(reference) + ".json";
  }
  [[nodiscard]] std::string stages() const { return home_.path() + "/layers"; }

  [[nodiscard]] std::string use_file(const std::string& id) const {
    return images() + "/" + hex_of(id) + ".use";
  }

  /// Makes the directories, takes the store's lock, and removes what a crash left half made.
  MaybeFailure lock(sys::UniqueFd& held) const;
  /// A directory for what is not ready, held by `alive`. Takes the store's lock for a moment.
  MaybeFailure make_stage(std::string& path, sys::UniqueFd& alive) const;

  /// Whether somebody else is making something. Needs the store's lock.
  [[nodiscard]] bool has_other_stage(const std::string& ours) const;

  [[nodiscard]] bool has_layer(const std::string& diff_id) const;
  [[nodiscard]] bool has_blob(const std::string& digest) const;
  /// ENOENT, EPROTO for a record that cannot be read.
  [[nodiscard]] Result<LayerRecord> read_layer(const std::string& diff_id) const;
  [[nodiscard]] Result<ImageRecord> read_image(const std::string& id) const;
  [[nodiscard]] Result<std::string> read_ref(const Reference& reference) const;
  /// A blob that is a document, verified. EPROTO when it is not what its name says.
  [[nodiscard]] Result<Json> read_document_blob(const std::string& digest) const;

  // All of these need the store's lock.
  [[nodiscard]] Status write_layer(const LayerRecord& record) const;
  [[nodiscard]] Status write_image(const ImageRecord& record) const;
  [[nodiscard]] Status write_ref(const Reference& reference, const std::string& id) const;
  /// A document under its digest; nothing to do where it is there.
  [[nodiscard]] Status write_blob(const std::string& digest, const std::string& content) const;

  /// Sorted. Records that cannot be read are left out.
  [[nodiscard]] std::vector<ImageRecord> list_images() const;
  [[nodiscard]] std::vector<NamedImage> list_refs() const;

  /// By NAME[:TAG] or the beginning of an id. ENOENT; ENOTUNIQ when it could be several.
  [[nodiscard]] Result<ImageRecord> resolve(const std::string& asked) const;
  /// The same, told.
  MaybeFailure resolve(const std::string& asked, const char* what, ImageRecord& image) const;

  /// Keeps an image from being removed while `held` lives. ENOENT when it is gone by now.
  [[nodiscard]] Status hold(const std::string& id, sys::UniqueFd& held) const;
  /// Whether nobody holds it: then nobody can until `held` goes. EWOULDBLOCK.
  [[nodiscard]] Status claim(const std::string& id, sys::UniqueFd& held) const;

 private:
  store::Home home_;
};

/// A new directory, 0700, opened.
Result<sys::UniqueFd> make_private_directory(const std::string& path);

}  // namespace plyfs::oci
