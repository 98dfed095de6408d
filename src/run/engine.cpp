#include "run/engine.h"

#include <cerrno>
#include <cstddef>
#include <vector>

#include "base/file_stat.h"
#include "config/failure_text.h"
#include "layer/marks.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/open.h"
#include "sys/sandbox/mounts.h"

namespace plyfs::run {
namespace {

/// `auto` looks at no more of an upper than this: some milliseconds.
constexpr std::size_t kMostObjects = 20000;

/// What is in an upper that overlayfs would not read, or read wrongly: with userxattr it follows no
/// redirects and knows no metadata-only copies, and `.wh.` files are files to it.
class MarkSearch {
 public:
  /// The path of the first, or an empty text. EFBIG: there is more than `most`.
  static Result<std::string> find(const std::string& upper, std::size_t most) {
    MarkSearch search{most};
    const sys::UniqueFd root = TRY(sys::open_directory_path(upper.c_str()));
    return search.look_into(root.borrow(), "");
  }

 private:
  explicit MarkSearch(std::size_t most) : left_(most) {}

  struct Entry {
    std::string name;
    bool directory;
    bool file;
  };

  Result<std::string> look_into(sys::BorrowedFd directory, const std::string& path) {
    std::vector<Entry> entries;
    const sys::UniqueFd listing = TRY(sys::open_listing({directory, ""}));
    TRY(sys::read_directory(listing.borrow(), [&](const sys::RawEntry& raw) {
      entries.push_back({raw.name, false, false});
      return sys::Visit::kContinue;
    }));
    for (Entry& entry : entries) {
      if (left_ == 0) {
        return Errno{EFBIG};
      }
      --left_;
      const std::string below = path + "/" + entry.name;
      const FileStat stat = TRY(sys::stat_object({directory, entry.name.c_str()}));
      if (layer::is_aufs_name(entry.name) || TRY(is_foreign(directory, entry.name, stat))) {
        return below;
      }
      if (stat.type() == kTypeDirectory) {
        const sys::UniqueFd inner = TRY(sys::open_directory_at(directory, entry.name.c_str()));
        std::string found = TRY(look_into(inner.borrow(), below));
        if (!found.empty()) {
          return found;
        }
      }
    }
    return std::string{};
  }

  static Result<bool> is_foreign(sys::BorrowedFd directory, const std::string& name,
                                 const FileStat& stat) {
    const sys::ObjectRef object{directory, name.c_str()};
    if (stat.type() == kTypeDirectory) {
      const auto marks = TRY(layer::read_dir_marks(object, layer::Reading{}));
      return !marks.redirect.empty();
    }
    if (!stat.is_regular()) {
      return false;
    }
    const auto marks = TRY(layer::read_file_marks(object, layer::Reading{}));
    return marks.metacopy ||
           (stat.size_bytes == 0 && TRY(layer::is_xattr_whiteout(object, layer::Reading{})));
  }

  std::size_t left_;
};

/// Why only plyfs can serve what was asked for; empty when the kernel can, too.
std::string asks_for_plyfs(const MountOptions& mount) {
  if (mount.read_only || !mount.upper) {
    return "nothing is written";
  }
  if (mount.whiteout == WhiteoutFamily::kXattr || mount.whiteout == WhiteoutFamily::kAufs ||
      mount.xattr_namespace == XattrNamespace::kTrusted) {
    return "marks of another kind were asked for";
  }
  if (mount.xattrs == Toggle::kOff || mount.acl == Toggle::kOff) {
    return "noxattrs or noacl was asked for";
  }
  return {};
}

/// The same of owners: the kernel shows those of the upper as they are.
bool maps_owners(const RunOptions& options) {
  const IdPolicy& ids = options.mount.ids;
  return !ids.uids.empty() || !ids.gids.empty() || ids.squash_uid || ids.squash_gid;
}

std::string tried(const MountOptions& mount, const Stage& stage) {
  const auto wrong = sys::sandbox::mount_overlay(
      stage.lower(), {stage.memory(0), *mount.upper, mount.work.value_or(""), false});
  if (wrong) {
    return "the kernel's overlayfs takes no such upper here (" + wrong->error.message() + ")";
  }
  (void)sys::sandbox::detach(stage.lower());
  return {};
}

}  // namespace

const char* engine_name(Engine engine) { return engine == Engine::kKernel ? "kernel" : "fuse"; }

std::optional<Failure> choose_engine(const RunOptions& options, const MountOptions& mount,
                                     const Stage& stage, Choice& choice) {
  if (options.engine == Engine::kFuse) {
    choice = {Engine::kFuse, "asked for by --engine"};
    return std::nullopt;
  }
  const bool wanted = options.engine == Engine::kKernel;
  std::string against = asks_for_plyfs(mount);
  if (against.empty() && maps_owners(options)) {
    against = "a mapping of owners was asked for";
  }
  if (against.empty()) {
    const auto mark = MarkSearch::find(*mount.upper, wanted ? SIZE_MAX : kMostObjects);
    if (!mark) {
      against = mark.error() == EFBIG
                    ? "the upper is too big to look for marks that overlayfs reads "
                      "otherwise"
                    : "the upper cannot be read (" + mark.error().message() + ")";
    } else if (!mark->empty()) {
      against = "overlayfs would read a mark in the upper otherwise: " + config::shown(*mark);
    }
  }
  against = against.empty() ? tried(mount, stage) : against;
  if (against.empty()) {
    choice = {Engine::kKernel, wanted ? "asked for by --engine"
                                      : "the upper has no marks that it would read otherwise, and "
                                        "the kernel takes it"};
    return std::nullopt;
  }
  if (wanted) {
    return config::system_failure({"cannot use --engine kernel",
                                   mount.upper.value_or("--read-only"), Errno{EOPNOTSUPP},
                                   against + ": use --engine fuse"});
  }
  choice = {Engine::kFuse, against};
  return std::nullopt;
}

}  // namespace plyfs::run
