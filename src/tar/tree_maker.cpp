#include "tar/tree_maker.h"

#include <algorithm>
#include <string_view>

#include "sys/creds.h"
#include "sys/dir_ops.h"
#include "sys/durable_file.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"
#include "sys/proc_path.h"
#include "tar/tar_output.h"

namespace plyfs::tar {
namespace {

constexpr mode_t kUntilDone = 0700;

Attributes ours(mode_t mode) {
  Attributes made;
  const sys::Privileges us = sys::current_privileges();
  made.mode = mode;
  made.uid = us.euid;
  made.gid = us.egid;
  return made;
}

bool is_below(const Names& names, const Names& directory) {
  return names.size() > directory.size() &&
         std::equal(directory.begin(), directory.end(), names.begin());
}

}  // namespace

std::string path_of(const Names& names) {
  std::string path;
  for (const std::string& name : names) {
    path += (path.empty() ? "" : "/") + name;
  }
  return path;
}

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

TreeMaker::TreeMaker(sys::BorrowedFd root, MakerRules rules, LeftOut left_out, std::string& why)
    : root_(root),
      rules_(rules),
      left_out_(std::move(left_out)),
      why_(why),
      may_chown_(sys::current_privileges().chown),
      implied_(ours(0755)) {
  directories_.emplace(Names{}, implied_);
  implied_names_.emplace(Names{}, true);
}

Errno TreeMaker::refuse(const char* why) {
  why_ = why;
  return Errno{EINVAL};
}

Result<Names> TreeMaker::names_of(const char* path) {
  if (path == nullptr || *path == '\0') {
    return refuse("an object has no name: the archive is damaged");
  }
  if (*path == '/' && !rules_.accept_absolute) {
    return refuse("names that begin at the root are refused: pack with relative ones");
  }
  Names names;
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view name = rest.substr(0, slash);
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    if (name == "..") {
      return refuse("'..' leads out of the directory: do not trust this archive");
    }
    if (!name.empty() && name != ".") {
      names.emplace_back(name);
    }
  }
  if (names.size() > rules_.most_depth) {
    return refuse("it lies deeper than is allowed: do not trust this archive");
  }
  return names;
}

/// Each directory is remembered by its whole path until the end: many deep ones would take memory
/// by the square of their depth.
Status TreeMaker::keep(const Names& names, Attributes attributes) {
  constexpr std::size_t kMostNames = 10'000'000;
  kept_names_ += names.size();
  if (kept_names_ > kMostNames) {
    return refuse("it has too many deep directories: do not trust this archive");
  }
  directories_.insert_or_assign(names, std::move(attributes));
  return {};
}

/// The directory that the first `count` of `names` lead to, without following a link.
Result<sys::BorrowedFd> TreeMaker::enter(const Names& names, std::size_t count, Missing missing) {
  std::size_t same = 0;
  while (same < count && same < open_.size() && open_[same].name == names[same]) {
    ++same;
  }
  open_.resize(same);
  for (std::size_t i = same; i < count; ++i) {
    const sys::BorrowedFd parent = i == 0 ? root_ : open_[i - 1].fd.borrow();
    auto found = sys::open_directory_at(parent, names[i].c_str());
    if (!found && found.error() == ENOENT && missing == Missing::kMake) {
      TRY(sys::make_directory(parent, names[i].c_str(), kUntilDone));
      const Names made{names.begin(), names.begin() + static_cast<long>(i) + 1};
      TRY(keep(made, implied_));
      implied_names_.insert_or_assign(made, true);
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

Result<TreeMaker::Place> TreeMaker::place_of(const Names& names) {
  if (names.empty()) {
    return refuse("the root is a directory: the archive is damaged");
  }
  const sys::BorrowedFd parent = TRY(enter(names, names.size() - 1, Missing::kMake));
  return Place{parent, names.back().c_str()};
}

/// Takes away what an earlier entry made.
Status TreeMaker::clear(const Names& names, Place place) {
  const Status removed = sys::unlink_file(place.parent, place.name);
  const bool is_directory = !removed && removed.error() == EISDIR;
  if (!is_directory || !rules_.replace_directories) {
    return removed;
  }
  open_.resize(std::min(open_.size(), names.size() - 1));
  TRY(sys::remove_tree(sys::ProcPath{{place.parent, place.name}}.c_str()));
  std::erase_if(directories_, [&](const auto& directory) {
    return directory.first == names || is_below(directory.first, names);
  });
  return {};
}

/// Trying first is one call where nothing is in the way, as for nearly all.
template <typename Make>
Status TreeMaker::make_cleared(const Names& names, Place place, Make make) {
  Status made = make();
  if (!made && made.error() == EEXIST) {
    TRY(clear(names, place));
    made = make();
  }
  return made;
}

Status TreeMaker::directory(const Names& names, Attributes attributes) {
  if (!names.empty()) {
    const Place place = TRY(place_of(names));
    const auto make = [&] { return sys::make_directory(place.parent, place.name, kUntilDone); };
    Status made = make();
    if (!made && made.error() == EEXIST) {
      const FileStat there = TRY(sys::stat_object({place.parent, place.name}));
      made = there.is_directory() ? Status{} : make_cleared(names, place, make);
    }
    TRY(Status{made});
  }
  TRY(keep(names, std::move(attributes)));
  implied_names_.erase(names);
  return {};
}

Result<sys::UniqueFd> TreeMaker::begin_file(const Names& names, const Attributes& attributes) {
  const Place place = TRY(place_of(names));
  // Nobody may come here before the root gets its mode: what the object will have can be given now.
  const mode_t mode = (attributes.mode & 0777U) | 0600U;
  auto file = sys::create_file(place.parent, place.name, mode);
  if (!file && file.error() == EEXIST) {
    TRY(clear(names, place));
    file = sys::create_file(place.parent, place.name, mode);
  }
  return file;
}

Status TreeMaker::finish_file(sys::UniqueFd file, const Attributes& attributes) {
  return set(attributes, {file.borrow(), ""}, kTypeRegular);
}

Status TreeMaker::symlink(const Names& names, const char* target, const Attributes& attributes) {
  if (target == nullptr || *target == '\0') {
    return refuse("a symbolic link to nowhere: the archive is damaged");
  }
  const Place place = TRY(place_of(names));
  TRY(make_cleared(names, place,
                   [&] { return sys::make_symlink(target, place.parent, place.name); }));
  return set(attributes, {place.parent, place.name}, kTypeSymlink);
}

Status TreeMaker::node(const Names& names, mode_t type, dev_t device,
                       const Attributes& attributes) {
  const Place place = TRY(place_of(names));
  const Status made = make_cleared(
      names, place, [&] { return sys::make_node(place.parent, place.name, type | 0600, device); });
  if (!made && made.error() == EPERM) {
    // What an earlier entry made under that name is gone in any case.
    const Status cleared = clear(names, place);
    if (!cleared && !(cleared.error() == ENOENT)) {
      return cleared;
    }
    left_out_(type == kTypeFifo ? "a fifo" : "a device", made.error());
    return {};
  }
  TRY(Status{made});
  return set(attributes, {place.parent, place.name}, type);
}

Status TreeMaker::hard_link(const Names& names, const Names& target) {
  if (target.empty() || names.empty() || target == names) {
    return refuse("a hard link to itself: the archive is damaged");
  }
  const auto from = enter(target, target.size() - 1, Missing::kFail);
  if (!from && from.error() == ENOENT) {
    return refuse("a hard link to what the archive does not hold: it is damaged");
  }
  const sys::UniqueFd source_directory = TRY(sys::duplicate(TRY(Result{from})));
  const sys::ObjectRef source{source_directory.borrow(), target.back().c_str()};
  const auto there = sys::stat_object(source);
  if (!there || there->is_directory()) {
    return refuse("a hard link to what the archive does not hold: it is damaged");
  }
  if (is_below(target, names)) {
    return refuse("a hard link in the place of what it links to: the archive is damaged");
  }
  const Place place = TRY(place_of(names));
  return make_cleared(names, place,
                      [&] { return sys::make_link(source, place.parent, place.name); });
}

Status TreeMaker::add_xattr(const Names& directory, const std::string& name,
                            const std::string& value) {
  (void)TRY(enter(directory, directory.size(), Missing::kMake));
  directories_.at(directory).xattrs.emplace_back(name, value);
  return {};
}

Result<FileStat> TreeMaker::look(const Names& names) {
  if (names.empty()) {
    return sys::stat_object({root_, ""});
  }
  const sys::BorrowedFd parent = TRY(enter(names, names.size() - 1, Missing::kFail));
  return sys::stat_object({parent, names.back().c_str()});
}

bool TreeMaker::is_implied(const Names& directory) const {
  return implied_names_.contains(directory);
}

Attributes* TreeMaker::attributes(const Names& directory) {
  const auto found = directories_.find(directory);
  return found == directories_.end() ? nullptr : &found->second;
}

Status TreeMaker::set_xattr(sys::ObjectRef object, const std::string& name,
                            const std::string& value) {
  const Status set = sys::set_xattr(object, name.c_str(), value, 0);
  const bool refused = !set && (set.error() == EOPNOTSUPP || set.error() == EPERM);
  if (refused) {
    left_out_(name, set.error());
  }
  return refused ? Status{} : set;
}

/// Leaves in `now` who owns it.
Status TreeMaker::set_owner(const Attributes& attributes, sys::ObjectRef object, FileStat& now) {
  if (!may_chown_ || (now.uid == attributes.uid && now.gid == attributes.gid)) {
    return {};
  }
  const Status changed = sys::change_owner(object, attributes.uid, attributes.gid);
  if (!changed && changed.error() == EINVAL && rules_.squash_unknown_owners) {
    left_out_("an owner that has no id here", changed.error());
    return {};
  }
  TRY(Status{changed});
  now.uid = attributes.uid;
  now.gid = attributes.gid;
  now.mode &= ~(kSetUid | kSetGid);  // perhaps: then the mode is set anew
  return {};
}

/// In this order: chown takes suid and capabilities away, a mode may forbid xattrs, ACLs change it.
Status TreeMaker::set(const Attributes& attributes, sys::ObjectRef object, mode_t type) {
  FileStat now = TRY(sys::stat_object(object));
  TRY(set_owner(attributes, object, now));
  for (const auto& [name, value] : attributes.xattrs) {
    TRY(set_xattr(object, name, value));
  }
  if (type != kTypeSymlink) {
    mode_t mode = attributes.mode;
    if (now.uid != attributes.uid) {
      mode &= ~kSetUid;
    }
    if (now.gid != attributes.gid && type != kTypeDirectory) {
      mode &= ~kSetGid;
    }
    if ((now.mode & kPermissionMask) != mode || (mode & (kSetUid | kSetGid)) != 0) {
      TRY(sys::change_mode(object, mode));
    }
    for (const auto& [name, value] :
         {std::pair{kAccessAcl, attributes.access_acl}, {kDefaultAcl, attributes.default_acl}}) {
      if (!value.empty()) {
        TRY(set_xattr(object, name, value));
      }
    }
  }
  return sys::change_times(object, attributes.atime, attributes.mtime);
}

Status TreeMaker::finish_directory(const Names& names, const Attributes& attributes) {
  const sys::BorrowedFd directory = TRY(enter(names, names.size(), Missing::kFail));
  const sys::UniqueFd open = TRY(sys::open_listing({directory, ""}));
  return set(attributes, {open.borrow(), ""}, kTypeDirectory);
}

Status TreeMaker::finish(std::string& at) {
  open_.clear();
  // What is deepest comes last in this order: its directory must still let us in.
  for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) {
    at = path_of(it->first);
    TRY(finish_directory(it->first, it->second));
  }
  return {};
}

}  // namespace plyfs::tar
