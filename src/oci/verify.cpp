#include "oci/verify.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "config/failure_text.h"
#include "layer/format.h"
#include "oci/blob_stream.h"
#include "oci/source.h"
#include "sys/creds.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/open.h"
#include "tar/tar_input.h"
#include "tar/tree_maker.h"

namespace plyfs::oci {
namespace {

namespace fs = std::filesystem;

struct Expected {
  FileStat stat;
  std::string content;  ///< a regular file's hash, a link's target
  bool seen = false;
};

/// What a layer's tar says that its tree is.
class TarPicture {
 public:
  TarPicture(tar::TarInput& input, sys::BorrowedFd root)
      : input_(input),
        names_(
            root, tar::MakerRules{.accept_absolute = true}, [](const std::string&, Errno) {},
            why_) {}

  Status read() {
    while (archive_entry* const entry = TRY(input_.next())) {
      TRY(add(entry));
    }
    return {};
  }
  std::map<std::string, Expected>& objects() { return objects_; }

 private:
  Status add(archive_entry* entry) {
    const tar::Names names = TRY(names_.names_of(archive_entry_pathname(entry)));
    if (std::ranges::any_of(names, [](const auto& name) { return layer::is_aufs_name(name); })) {
      return {};
    }
    const std::string path = tar::path_of(names);
    Expected expected;
    if (const char* const target = archive_entry_hardlink(entry)) {
      expected = objects_[tar::path_of(TRY(names_.names_of(target)))];
    } else {
      const tar::Attributes attributes = tar::attributes_of(entry);
      expected.stat.mode = archive_entry_filetype(entry) | attributes.mode;
      expected.stat.uid = attributes.uid;
      expected.stat.gid = attributes.gid;
      expected.stat.mtime = attributes.mtime.value;
      expected.stat.size_bytes = archive_entry_size(entry);
      if (const char* const link = archive_entry_symlink(entry)) {
        expected.content = link;
      }
      if (expected.stat.is_regular()) {
        expected.content = TRY(hash_content(expected.stat.size_bytes));
      }
    }
    if (!expected.stat.is_directory()) {
      const std::string below = path + "/";
      auto first = objects_.lower_bound(below);
      auto last = first;
      while (last != objects_.end() && last->first.starts_with(below)) {
        ++last;
      }
      objects_.erase(first, last);
    }
    objects_[path] = std::move(expected);
    return {};
  }

  Result<std::string> hash_content(std::int64_t size_bytes) {
    static const std::string zeros(std::size_t{64} << 10U, '\0');
    ContentHash hash;
    std::int64_t at = 0;
    const auto skip_to = [&](std::int64_t end) {
      while (at < end) {
        const auto piece =
            std::min<std::int64_t>(end - at, static_cast<std::int64_t>(zeros.size()));
        hash.add({zeros.data(), static_cast<std::size_t>(piece)});
        at += piece;
      }
    };
    while (true) {
      const tar::TarInput::Piece piece = TRY(input_.read());
      if (piece.size_bytes == 0) {
        skip_to(size_bytes);
        return hash.hex();
      }
      skip_to(piece.offset);
      hash.add({piece.bytes, piece.size_bytes});
      at += static_cast<std::int64_t>(piece.size_bytes);
    }
  }

  std::string why_;
  tar::TarInput& input_;
  tar::TreeMaker names_;  // for the rules of names only
  std::map<std::string, Expected> objects_;
};

Result<std::string> hash_file(sys::BorrowedFd handle) {
  const sys::UniqueFd file = TRY(sys::open_file({handle, ""}, sys::Access::kRead));
  std::vector<char> buffer(std::size_t{256} << 10U);
  ContentHash hash;
  for (std::int64_t at = 0;;) {
    const std::size_t got = TRY(sys::read_at(file.borrow(), buffer.data(), buffer.size(), at));
    hash.add({buffer.data(), got});
    at += static_cast<std::int64_t>(got);
    if (got < buffer.size()) {
      return hash.hex();
    }
  }
}

/// Compares one layer's tree with what its tar says.
class TreeCheck {
 public:
  TreeCheck(std::map<std::string, Expected>& objects, sys::BorrowedFd root, bool owners,
            const VerifyEvents& events, std::string name)
      : objects_(objects), root_(root), owners_(owners), events_(events), name_(std::move(name)) {}

  void run(const std::string& path) {
    std::error_code error;
    for (fs::recursive_directory_iterator it{path, error}; it != fs::recursive_directory_iterator{};
         it.increment(error)) {
      if (error) {
        break;
      }
      const std::string relative = it->path().string().substr(path.size() + 1);
      if (const Status checked = check(relative); !checked) {
        wrong(relative, checked.error().message());
      }
    }
    if (error) {
      events_.wrong(name_ + ": cannot be listed: " + error.message());
    }
    for (const auto& [relative, expected] : objects_) {
      const mode_t type = expected.stat.type();
      if (!expected.seen && !relative.empty() && type != kTypeChar && type != kTypeBlock &&
          type != kTypeFifo) {
        wrong(relative, "missing");
      }
    }
  }

 private:
  void wrong(const std::string& path, const std::string& what) {
    events_.wrong(name_ + ": /" + config::shown(path) + ": " + what);
  }

  Status check(const std::string& path) {
    const sys::UniqueFd handle = TRY(sys::open_beneath(root_, path.c_str()));
    const FileStat found = TRY(sys::stat_object({handle.borrow(), ""}));
    const auto at = objects_.find(path);
    if (at == objects_.end()) {
      const bool mark =
          found.is_whiteout_device() || layer::is_aufs_name(path.substr(path.rfind('/') + 1));
      if (!mark && !found.is_directory()) {  // directories may be without an entry
        wrong(path, "is not of this layer");
      }
      return {};
    }
    Expected& expected = at->second;
    expected.seen = true;
    if (found.type() != expected.stat.type()) {
      wrong(path, "another type");
      return {};
    }
    compare(path, found, expected.stat);
    std::string content;
    if (found.is_regular()) {
      content = TRY(hash_file(handle.borrow()));
    } else if (found.is_symlink()) {
      content = TRY(sys::read_link({handle.borrow(), ""}));
    }
    if (content != expected.content) {
      wrong(path, found.is_symlink() ? "another target" : "another content");
    }
    return {};
  }

  void compare(const std::string& path, const FileStat& found, const FileStat& expected) {
    const mode_t kept = owners_ ? kPermissionMask : 0777U;
    if (!found.is_symlink() && (found.mode & kept) != (expected.mode & kept)) {
      wrong(path, "another mode");
    }
    if (owners_ && (found.uid != expected.uid || found.gid != expected.gid)) {
      wrong(path, "another owner");
    }
    if (found.mtime.tv_sec != expected.mtime.tv_sec) {
      wrong(path, "another time");
    }
  }

  std::map<std::string, Expected>& objects_;
  const sys::BorrowedFd root_;
  const bool owners_;
  const VerifyEvents& events_;
  const std::string name_;
};

Status check_layer(const ImageStore& store, const ImageLayer& layer, const VerifyEvents& events) {
  const std::string name = "layer " + hex_of(layer.diff_id).substr(0, 12);
  const LayerRecord record = TRY(store.read_layer(layer.diff_id));
  const sys::UniqueFd root = TRY(sys::open_directory_path(store.layer(layer.diff_id).c_str()));
  const auto blob = open_extent(store.blob(layer.digest));
  if (!blob && blob.error() == ENOENT) {
    events.unknown(name + ": its blob was not kept");
    return {};
  }
  Budget budget;
  budget.bytes = INT64_MAX;
  BlobStream stream{TRY(Result{blob}), {}, budget};
  tar::TarInput input;
  TRY(input.open([&] { return stream.next(); }));
  TarPicture picture{input, root.borrow()};
  TRY(picture.read());
  TRY(stream.drain());
  if (stream.digest() != layer.digest || stream.diff_id() != layer.diff_id) {
    events.wrong(name + ": the blob is not what its digest says");
    return {};
  }
  const bool owners = sys::current_privileges().chown && record.squashed == 0;
  TreeCheck{picture.objects(), root.borrow(), owners, events, name}.run(store.layer(layer.diff_id));
  return {};
}

}  // namespace

void verify_image(const ImageStore& store, const ImageRecord& image, const VerifyEvents& events) {
  for (const std::string& digest : {image.id, image.manifest}) {
    if (const auto document = store.read_document_blob(digest); !document) {
      events.wrong("document " + hex_of(digest).substr(0, 12) + ": " + document.error().message());
    }
  }
  for (const ImageLayer& layer : image.layers) {
    if (const Status checked = check_layer(store, layer, events); !checked) {
      events.wrong("layer " + hex_of(layer.diff_id).substr(0, 12) + ": " +
                   checked.error().message());
    }
  }
}

}  // namespace plyfs::oci
