#include "tar/import_tree.h"

#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file_stat.h"
#include "sys/creds.h"
#include "sys/dir_ops.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"
#include "tar/acl.h"
#include "tar/tar_output.h"

namespace plyfs::tar {
namespace {

using Names = std::vector<std::string>;

constexpr mode_t kUntilDone = 0700;

/// What an object gets when it has its content.
struct Attributes {
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  TimeChange atime;
  TimeChange mtime;
  std::vector<std::pair<std::string, std::string>> xattrs;
  std::string access_acl;
  std::string default_acl;
};

Attributes attributes_of(archive_entry* entry) {
  Attributes found;
  found.uid = static_cast<uid_t>(archive_entry_uid(entry));
  found.gid = static_cast<gid_t>(archive_entry_gid(entry));
  found.mode = archive_entry_mode(entry) & kPermissionMask;
  if (archive_entry_mtime_is_set(entry) != 0) {
    found.mtime = {TimeChange::Kind::kValue,
                   meant_time({archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)})};
  }
  if (archive_entry_atime_is_set(entry) != 0) {
    found.atime = {TimeChange::Kind::kValue,
                   meant_time({archive_entry_atime(entry), archive_entry_atime_nsec(entry)})};
  }
  (void)archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    found.xattrs.emplace_back(name, std::string{static_cast<const char*>(value), size});
  }
  return found;
}

class Importer {
 public:
  Importer(TarInput& input, sys::BorrowedFd root, const FileStat& root_default,
           const ImportEvents& events, ImportTrouble& trouble)
      : input_(input),
        root_(root),
        events_(events),
        trouble_(trouble),
        may_chown_(sys::current_privileges().chown) {
    Attributes attributes;
    attributes.mode = root_default.mode & kPermissionMask;
    attributes.uid = root_default.uid;
    attributes.gid = root_default.gid;
    directories_.emplace(Names{}, std::move(attributes));
  }

  Status run() {
    while (archive_entry* const entry = TRY(next())) {
      TRY(add(entry));
      events_.progress(++entries_);
    }
    open_.clear();
    // What is deepest comes last in this order: its directory must still let us in.
    for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) {
      trouble_.path = shown(it->first);
      TRY(finish_directory(it->first, it->second));
    }
    return {};
  }

 private:
  struct Open {
    std::string name;
    sys::UniqueFd fd;
  };

  static std::string shown(const Names& names) {
    std::string path;
    for (const std::string& name : names) {
      path += (path.empty() ? "" : "/") + name;
    }
    return path;
  }

  Attributes describe(archive_entry* entry) {
    Attributes found = attributes_of(entry);
    for (const auto& [type, acl] : {std::pair{ARCHIVE_ENTRY_ACL_TYPE_ACCESS, &found.access_acl},
                                    {ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, &found.default_acl}}) {
      auto taken = take_acl(entry, type, ids_);
      if (taken) {
        *acl = *std::move(taken);
      } else {
        events_.left_out(trouble_.path, "an ACL for users that are not known here", taken.error());
      }
    }
    return found;
  }

  Errno refuse(const char* why) {
    trouble_.remedy = why;
    return Errno{EINVAL};
  }

  Result<archive_entry*> next() {
    trouble_ = {};
    return broken(input_.next());
  }

  template <typename T>
  Result<T> broken(Result<T> result) {
    if (!result && result.error() == EPROTO) {
      trouble_.path.clear();
      trouble_.remedy = input_.problem() + ": get the archive anew";
    }
    return result;
  }

  /// The components of a path; empty for the root.
  Result<Names> names_of(const char* path) {
    if (path == nullptr || *path == '\0') {
      return refuse("an object has no name: the archive is damaged");
    }
    if (*path == '/') {
      return refuse("names that begin at the root are refused: pack with relative ones");
    }
    Names names;
    for (std::string_view rest = path; !rest.empty();) {
      const std::size_t slash = std::min(rest.find('/'), rest.size());
      const std::string_view name = rest.substr(0, slash);
      rest.remove_prefix(std::min(slash + 1, rest.size()));
      if (name == "..") {
        return refuse("'..' leads out of the volume: do not trust this archive");
      }
      if (!name.empty() && name != ".") {
        names.emplace_back(name);
      }
    }
    return names;
  }

  /// The directory that the first `count` of `names` lead to, without following a link.
  Result<sys::BorrowedFd> enter(const Names& names, std::size_t count, bool make) {
    std::size_t same = 0;
    while (same < count && same < open_.size() && open_[same].name == names[same]) {
      ++same;
    }
    open_.resize(same);
    for (std::size_t i = same; i < count; ++i) {
      const sys::BorrowedFd parent = i == 0 ? root_ : open_[i - 1].fd.borrow();
      auto found = sys::open_directory_at(parent, names[i].c_str());
      if (!found && found.error() == ENOENT && make) {
        TRY(sys::make_directory(parent, names[i].c_str(), kUntilDone));
        directories_.try_emplace(Names(names.begin(), names.begin() + static_cast<long>(i) + 1),
                                 implied_);
        found = sys::open_directory_at(parent, names[i].c_str());
      }
      if (!found && (found.error() == ENOTDIR || found.error() == ELOOP)) {
        return refuse("its way leads through a link or a file: do not trust this archive");
      }
      // Not within the braces: clang 14 leaks the name when TRY returns from there.
      sys::UniqueFd fd = TRY(std::move(found));
      open_.push_back({names[i], std::move(fd)});
    }
    return count == 0 ? root_ : open_.back().fd.borrow();
  }

  Status add(archive_entry* entry) {
    const char* const path = archive_entry_pathname(entry);
    trouble_.path = path != nullptr ? path : "?";
    const Names names = TRY(names_of(path));
    if (names.empty()) {
      if (archive_entry_filetype(entry) != kTypeDirectory) {
        return refuse("the root of a volume is a directory: the archive is damaged");
      }
      directories_.insert_or_assign(names, describe(entry));
      return {};
    }
    const sys::BorrowedFd parent = TRY(enter(names, names.size() - 1, true));
    const char* const name = names.back().c_str();
    if (archive_entry_hardlink(entry) != nullptr) {
      return add_link(entry, names);
    }
    const bool is_directory = archive_entry_filetype(entry) == kTypeDirectory;
    const auto there = sys::stat_object({parent, name});
    if (there && !(there->is_directory() && is_directory)) {
      TRY(sys::unlink_file(parent, name));  // EISDIR
    } else if (!there && there.error() != ENOENT) {
      return there.error();
    }
    if (is_directory) {
      if (!there || !there->is_directory()) {
        TRY(sys::make_directory(parent, name, kUntilDone));
      }
      directories_.insert_or_assign(names, describe(entry));
      return {};
    }
    return make(entry, parent, name);
  }

  Status add_link(archive_entry* entry, const Names& names) {
    const Names target = TRY(names_of(archive_entry_hardlink(entry)));
    if (target.empty() || target == names) {
      return refuse("a hard link to itself: the archive is damaged");
    }
    const sys::BorrowedFd from = TRY(enter(target, target.size() - 1, false));
    const sys::UniqueFd source_directory = TRY(sys::duplicate(from));
    const sys::BorrowedFd parent = TRY(enter(names, names.size() - 1, false));
    const char* const name = names.back().c_str();
    const sys::ObjectRef source{source_directory.borrow(), target.back().c_str()};
    if (!sys::stat_object(source)) {
      return refuse("a hard link to what the archive does not hold: it is damaged");
    }
    const Status removed = sys::unlink_file(parent, name);
    if (!removed && removed.error() != ENOENT) {
      return removed;
    }
    return sys::make_link(source, parent, name);
  }

  Status make(archive_entry* entry, sys::BorrowedFd parent, const char* name) {
    const Attributes attributes = describe(entry);
    const mode_t type = archive_entry_filetype(entry);
    switch (type) {
      case kTypeRegular: {
        const sys::UniqueFd file = TRY(sys::create_file(parent, name, 0600));
        TRY(copy_content(entry, file.borrow()));
        return set(attributes, {file.borrow(), ""}, type);
      }
      case kTypeSymlink: {
        const char* const target = archive_entry_symlink(entry);
        if (target == nullptr || *target == '\0') {
          return refuse("a symbolic link to nowhere: the archive is damaged");
        }
        TRY(sys::make_symlink(target, parent, name));
        break;
      }
      case kTypeFifo:
      case kTypeChar:
      case kTypeBlock: {
        const Status made = sys::make_node(parent, name, type | 0600, archive_entry_rdev(entry));
        if (!made && made.error() == EPERM) {
          events_.left_out(trouble_.path, type == kTypeFifo ? "a fifo" : "a device", made.error());
          return {};
        }
        TRY(Status{made});
        break;
      }
      default:
        return refuse("no kind of object that a filesystem has: the archive is damaged");
    }
    return set(attributes, {parent, name}, type);
  }

  Status copy_content(archive_entry* entry, sys::BorrowedFd file) {
    for (;;) {
      const TarInput::Piece piece = TRY(broken(input_.read()));
      if (piece.size_bytes == 0) {
        return sys::resize(file, archive_entry_size(entry));
      }
      TRY(sys::write_all_at(file, piece.bytes, piece.size_bytes, piece.offset));
      events_.progress(entries_);
    }
  }

  Status set_xattr(sys::ObjectRef object, const std::string& name, const std::string& value) {
    const Status set = sys::set_xattr(object, name.c_str(), value, 0);
    const bool refused = !set && (set.error() == EOPNOTSUPP || set.error() == EPERM);
    if (refused) {
      events_.left_out(trouble_.path, name, set.error());
    }
    return refused ? Status{} : set;
  }

  /// In this order: chown takes suid and capabilities away, a mode may forbid xattrs, ACLs change
  /// it.
  Status set(const Attributes& attributes, sys::ObjectRef object, mode_t type) {
    if (may_chown_) {
      TRY(sys::change_owner(object, attributes.uid, attributes.gid));
    }
    for (const auto& [name, value] : attributes.xattrs) {
      TRY(set_xattr(object, name, value));
    }
    if (type != kTypeSymlink) {
      const FileStat now = TRY(sys::stat_object(object));
      mode_t mode = attributes.mode;
      if (now.uid != attributes.uid) {
        mode &= ~kSetUid;
      }
      if (now.gid != attributes.gid && type != kTypeDirectory) {
        mode &= ~kSetGid;
      }
      TRY(sys::change_mode(object, mode));
      for (const auto& [name, value] :
           {std::pair{kAccessAcl, attributes.access_acl}, {kDefaultAcl, attributes.default_acl}}) {
        if (!value.empty()) {
          TRY(set_xattr(object, name, value));
        }
      }
    }
    return sys::change_times(object, attributes.atime, attributes.mtime);
  }

  Status finish_directory(const Names& names, const Attributes& attributes) {
    const sys::BorrowedFd directory = TRY(enter(names, names.size(), false));
    const sys::UniqueFd open = TRY(sys::open_listing({directory, ""}));
    return set(attributes, {open.borrow(), ""}, kTypeDirectory);
  }

  TarInput& input_;
  const sys::BorrowedFd root_;
  const ImportEvents& events_;
  ImportTrouble& trouble_;
  const bool may_chown_;
  Ids ids_;
  /// Of directories that the archive goes through without naming them.
  const Attributes implied_ = [] {
    Attributes made;
    const sys::Privileges us = sys::current_privileges();
    made.mode = 0755;
    made.uid = us.euid;
    made.gid = us.egid;
    return made;
  }();
  std::uint64_t entries_ = 0;
  std::vector<Open> open_;  ///< the directories on the way to the last object
  std::map<Names, Attributes> directories_;
};

}  // namespace

Status import_tree(TarInput& input, sys::BorrowedFd root, const FileStat& root_default,
                   const ImportEvents& events, ImportTrouble& trouble) {
  return Importer{input, root, root_default, events, trouble}.run();
}

}  // namespace plyfs::tar
