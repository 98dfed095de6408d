#include "oci/publish.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "config/failure_text.h"
#include "sys/creds.h"
#include "sys/durable_file.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::oci {
namespace {

namespace fs = std::filesystem;

Status sync_around(const std::string& path) {
  const sys::UniqueFd directory = TRY(sys::open_directory_path(path.c_str()));
  const sys::UniqueFd listing = TRY(sys::open_listing({directory.borrow(), ""}));
  return sys::sync_filesystem(listing.borrow());
}

Status publish_directory(const ImageStore& store, const LayerRecord& record,
                         const std::string& directory) {
  if (store.has_layer(record.diff_id)) {
    return {};
  }
  const std::string place = store.layer(record.diff_id);
  std::error_code error;
  if (fs::exists(fs::symlink_status(place, error))) {
    // Without a record: somebody was killed between the two steps below.
    TRY(move_directory(place, directory + ".old"));
  }
  TRY(move_directory(directory, place));
  return store.write_layer(record);
}

Status publish_blob(const ImageStore& store, const std::string& digest, const std::string& blob) {
  std::error_code error;
  fs::rename(blob, store.blob(digest), error);
  return error ? Status{Errno{error.value()}} : Status{};
}

/// The attributes of a directory in the topmost layer that has it; absent where something else, or
/// a deletion, stands there.
Result<std::optional<FileStat>> directory_below(const std::vector<std::string>& below,
                                                const std::string& path) {
  for (const std::string& layer : below) {
    const sys::UniqueFd root = TRY(sys::open_directory_path(layer.c_str()));
    const auto found = sys::open_beneath(root.borrow(), path.empty() ? "." : path.c_str());
    if (!found && found.error() == ENOENT) {
      continue;
    }
    if (!found) {
      return std::optional<FileStat>{};  // through a link, or a deletion: nothing is below
    }
    const FileStat stat = TRY(sys::stat_object({found->borrow(), ""}));
    return stat.is_directory() ? std::optional{stat} : std::nullopt;
  }
  return std::optional<FileStat>{};
}

}  // namespace

/// A directory can be moved to another one only if it may be written to.
Status move_directory(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error.value() != EACCES) {
    return error ? Status{Errno{error.value()}} : Status{};
  }
  const fs::perms mode = fs::status(from, error).permissions();
  fs::permissions(from, fs::perms::owner_all, error);
  fs::rename(from, to, error);
  if (error) {
    return Errno{error.value()};
  }
  fs::permissions(to, mode, error);
  return error ? Status{Errno{error.value()}} : Status{};
}

Status inherit_attributes(const std::string& layer, const std::vector<std::string>& implied,
                          const std::vector<std::string>& below) {
  const sys::UniqueFd root = TRY(sys::open_directory_path(layer.c_str()));
  const bool may_chown = sys::current_privileges().chown;
  for (const std::string& path : implied) {
    const auto found = TRY(directory_below(below, path));
    if (!found) {
      continue;
    }
    const sys::UniqueFd handle =
        TRY(sys::open_beneath(root.borrow(), path.empty() ? "." : path.c_str()));
    const sys::UniqueFd open = TRY(sys::open_listing({handle.borrow(), ""}));
    const sys::ObjectRef object{open.borrow(), ""};
    if (may_chown) {
      TRY(sys::change_owner(object, found->uid, found->gid));
    }
    TRY(sys::change_mode(object, found->mode & kPermissionMask));
    TRY(sys::change_times(object, {}, {TimeChange::Kind::kValue, found->mtime}));
  }
  return {};
}

LayerRecord record_of(const LayerFacts& facts, Marks marks) {
  LayerRecord record;
  record.diff_id = facts.diff_id;
  record.marks = word_of(marks);
  record.entries = facts.entries;
  record.bytes = facts.bytes;
  record.whiteouts = facts.whiteouts;
  record.opaque = facts.opaque;
  record.squashed = facts.squashed;
  record.left_out_count = facts.left_out_count;
  record.left_out = facts.left_out;
  return record;
}

MaybeFailure publish_layer(const ImageStore& store, const LayerFacts& facts, Marks marks,
                           const std::string& directory, const std::string& blob) {
  sys::UniqueFd lock;
  Status done = sync_around(store.layers());
  if (done) {
    if (auto failure = store.lock(lock)) {
      return failure;
    }
    if (!directory.empty()) {
      done = publish_directory(store, record_of(facts, marks), directory);
    }
    if (done && !blob.empty()) {
      done = publish_blob(store, facts.digest, blob);
    }
  }
  if (done) {
    return std::nullopt;
  }
  return config::system_failure({"cannot put a layer in place", facts.diff_id, done.error(),
                                 "free some space, and make the image store writable for you"});
}

}  // namespace plyfs::oci
