#include "oci/removal.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "config/failure_text.h"
#include "oci/publish.h"
#include "store/mounts.h"
#include "sys/durable_file.h"

namespace plyfs::oci {
namespace {

namespace fs = std::filesystem;
using config::system_failure;

/// What goes is moved into a stage under the lock, in one step each, and removed without it.
class Removal {
 public:
  explicit Removal(const ImageStore& store, Removed& removed) : store_(store), removed_(removed) {}
  ~Removal() {
    lock_.reset();
    if (!stage_.empty()) {
      (void)sys::remove_tree(stage_);
    }
  }
  Removal(const Removal&) = delete;
  Removal& operator=(const Removal&) = delete;

  MaybeFailure begin() {
    if (auto failure = store_.make_stage(stage_, alive_)) {
      return failure;
    }
    return store_.lock(lock_);
  }

  MaybeFailure failed(const std::string& subject, Errno error) const {
    return system_failure(
        {"cannot remove", subject, error, "make the image store writable for you"});
  }

  MaybeFailure remove_name(const Reference& reference) {
    if (const Status gone = unlink(store_.ref(reference)); !gone) {
      return failed(reference.text(), gone.error());
    }
    removed_.names.push_back(reference.text());
    return std::nullopt;
  }

  /// Its names must be gone.
  MaybeFailure remove(const ImageRecord& image) {
    if (auto busy = refuse_used(image)) {
      return busy;
    }
    if (const Status gone = unlink(store_.image(image.id)); !gone) {
      return failed(image.id, gone.error());
    }
    (void)unlink(store_.use_file(image.id));  // only a lock
    removed_.images.push_back(image.id);
    return std::nullopt;
  }

  MaybeFailure refuse_used(const ImageRecord& image) {
    std::string users = users_of(store_, image);
    sys::UniqueFd claimed;
    if (users.empty() && !store_.claim(image.id, claimed)) {
      users = "a command that is running";
    }
    if (users.empty()) {
      return std::nullopt;
    }
    return system_failure({"cannot remove an image", hex_of(image.id).substr(0, 12), Errno{EBUSY},
                           "it is in use by " + users + ": end that first"});
  }

  /// Layers and blobs of no image. `only`, if any, are those that may go.
  MaybeFailure collect(const std::set<std::string>* only) {
    if (store_.has_other_stage(stage_)) {
      removed_.left_layers = true;
      return std::nullopt;
    }
    std::set<std::string> layers;
    std::set<std::string> blobs;
    if (auto failure = needed(layers, blobs)) {
      return failure;
    }
    if (auto failure = sweep(store_.layers(), layers, only, removed_.layers)) {
      return failure;
    }
    return sweep(store_.blobs(), blobs, only, removed_.blobs);
  }

 private:
  static Status unlink(const std::string& path) {
    std::error_code error;
    fs::remove(path, error);
    return error ? Status{Errno{error.value()}} : Status{};
  }

  /// Hexadecimal names of all that an image or a live mount has. One record that cannot be read
  /// could be of any.
  MaybeFailure needed(std::set<std::string>& layers, std::set<std::string>& blobs) {
    for (const std::string& name : store::names_in(store_.images(), store::Hidden::kNo)) {
      if (!name.ends_with(".json")) {
        continue;
      }
      const auto image = store_.read_image("sha256:" + name.substr(0, name.size() - 5));
      if (!image) {
        return system_failure({"cannot tell which layers are needed", store_.images() + "/" + name,
                               image.error(), "remove that record, or repair it"});
      }
      blobs.insert(hex_of(image->id));
      blobs.insert(hex_of(image->manifest));
      for (const ImageLayer& layer : image->layers) {
        layers.insert(hex_of(layer.diff_id));
        blobs.insert(hex_of(layer.digest));
      }
    }
    for (const store::MountRecord& record : store::list_mounts(store_.home())) {
      for (const std::string& lower : record.lowers) {
        layers.insert(fs::path{store::same_path(lower)}.filename());
      }
    }
    return std::nullopt;
  }

  MaybeFailure sweep(const std::string& directory, const std::set<std::string>& needed,
                     const std::set<std::string>* only, std::size_t& count) {
    for (const std::string& name : store::names_in(directory, store::Hidden::kNo)) {
      const std::string hex = name.substr(0, name.find('.'));
      const bool record = name != hex;  // goes before its layer
      if (needed.contains(hex) || (only != nullptr && !only->contains(hex)) ||
          !is_digest("sha256:" + hex)) {
        continue;
      }
      if (record) {
        if (const Status gone = unlink(directory + "/" + name); !gone) {
          return failed(name, gone.error());
        }
        continue;
      }
      (void)unlink(directory + "/" + hex + ".json");
      const Status moved =
          move_directory(directory + "/" + name, stage_ + "/" + std::to_string(++moved_));
      if (!moved) {
        return failed(name, moved.error());
      }
      ++count;
    }
    return std::nullopt;
  }

  const ImageStore& store_;
  Removed& removed_;
  std::string stage_;
  sys::UniqueFd alive_;
  sys::UniqueFd lock_;
  std::size_t moved_ = 0;
};

std::vector<Reference> names_of(const ImageStore& store, const std::string& id) {
  std::vector<Reference> names;
  for (const NamedImage& named : store.list_refs()) {
    if (named.id == id) {
      names.push_back(named.reference);
    }
  }
  return names;
}

std::set<std::string> parts_of(const ImageRecord& image) {
  std::set<std::string> parts{hex_of(image.id), hex_of(image.manifest)};
  for (const ImageLayer& layer : image.layers) {
    parts.insert(hex_of(layer.diff_id));
    parts.insert(hex_of(layer.digest));
  }
  return parts;
}

}  // namespace

std::string users_of(const ImageStore& store, const ImageRecord& image) {
  std::string users;
  for (const store::MountRecord& record : store::list_mounts(store.home())) {
    if (record.image == image.id) {
      users += (users.empty() ? "" : ", ") + config::shown(record.shown()) +
               (record.live ? "" : " (not mounted: 'plyfs rm " + record.name + "')");
    }
  }
  return users;
}

MaybeFailure remove_image(const ImageStore& store, const std::string& asked, bool force,
                          Removed& removed) {
  Removal removal{store, removed};
  if (auto failure = removal.begin()) {
    return failure;
  }
  ImageRecord image;
  if (auto failure = store.resolve(asked, "cannot remove an image", image)) {
    return failure;
  }
  const std::vector<Reference> names = names_of(store, image.id);
  const auto asked_name = parse_reference(asked);
  std::vector<Reference> meant;
  for (const Reference& name : names) {
    if (asked_name && name == *asked_name) {
      meant = {name};
      break;
    }
    if (asked_name && is_meant(name, *asked_name)) {
      meant.push_back(name);
    }
  }
  const bool by_name = !meant.empty();
  if (!by_name && names.size() > 1 && !force) {
    return system_failure({"cannot remove an image", asked, Errno{EBUSY},
                           "it has several names: name one, or -f removes all"});
  }
  const std::vector<Reference>& going = by_name ? meant : names;
  const bool last = going.size() == names.size();
  if (last) {
    if (auto busy = removal.refuse_used(image)) {
      return busy;
    }
  }
  for (const Reference& name : going) {
    if (auto failure = removal.remove_name(name)) {
      return failure;
    }
  }
  if (!last) {
    return std::nullopt;
  }
  if (auto failure = removal.remove(image)) {
    return failure;
  }
  const std::set<std::string> parts = parts_of(image);
  return removal.collect(&parts);
}

MaybeFailure prune(const ImageStore& store, bool all, Removed& removed) {
  Removal removal{store, removed};
  if (auto failure = removal.begin()) {
    return failure;
  }
  for (const ImageRecord& image : store.list_images()) {
    const std::vector<Reference> names = names_of(store, image.id);
    if ((!names.empty() && !all) || removal.refuse_used(image)) {
      continue;
    }
    for (const Reference& name : names) {
      if (auto failure = removal.remove_name(name)) {
        return failure;
      }
    }
    if (auto failure = removal.remove(image)) {
      return failure;
    }
  }
  return removal.collect(nullptr);
}

}  // namespace plyfs::oci
