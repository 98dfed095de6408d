#include "fill/fill.h"

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/path_components.h"
#include "base/scope_exit.h"
#include "sys/creds.h"
#include "sys/dir_ops.h"
#include "sys/dir_stream.h"
#include "sys/durable_file.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs::fill {
namespace {

constexpr std::size_t kPiece_bytes = std::size_t{1} << 20;
constexpr std::string_view kStagePrefix = "_fill-";

/// A looked-up object. Its reference is given back with it.
class Found {
 public:
  explicit Found(ops::Entry entry) : entry_(std::move(entry)) {}
  [[nodiscard]] node::Node& node() const { return *entry_.node; }
  [[nodiscard]] const FileStat& stat() const { return entry_.stat; }

 private:
  ops::Entry entry_;
};

class Names final : public ops::DirectorySink {
 public:
  bool add(const char* name, std::uint64_t, std::uint8_t, std::uint64_t offset) override {
    last_ = offset;
    ++added_;
    if (std::string_view{name} != "." && std::string_view{name} != "..") {
      names_.emplace_back(name);
    }
    return true;
  }
  bool add_plus(const char* name, ops::Entry*, std::uint64_t ino, std::uint8_t type,
                std::uint64_t offset) override {
    return add(name, ino, type, offset);
  }
  static Result<std::vector<std::string>> of(ops::FileSystem& fs, node::Node& directory) {
    Names sink;
    std::size_t before = 0;
    do {
      before = sink.added_;
      TRY(fs.readdir(directory, sink.last_, Plus::kNo, sink));
    } while (sink.added_ != before);
    return std::move(sink.names_);
  }

 private:
  std::vector<std::string> names_;
  std::uint64_t last_ = 0;
  std::size_t added_ = 0;
};

/// The object at `path` of the merged tree; links are followed inside it. ENOENT, ENOTDIR, ELOOP.
Result<std::vector<Found>> walk(ops::FileSystem& fs, std::string_view path) {
  std::vector<Found> way;  // from below the root on
  std::deque<std::string> rest = path_components(path);
  int links = 0;
  while (!rest.empty()) {
    const std::string name = std::move(rest.front());
    rest.pop_front();
    if (name == ".") {
      continue;
    }
    if (name == "..") {
      if (!way.empty()) {
        way.pop_back();
      }
      continue;
    }
    node::Node& at = way.empty() ? fs.root() : way.back().node();
    if (!at.is_directory()) {
      return Errno{ENOTDIR};
    }
    Found found{TRY(fs.lookup(at, name.c_str()))};
    if (!found.stat().is_symlink()) {
      way.push_back(std::move(found));
      continue;
    }
    if (++links > kMostLinks) {
      return Errno{ELOOP};
    }
    const std::string target = TRY(fs.readlink(found.node()));
    if (target.starts_with('/')) {
      way.clear();
    }
    go_by_link(rest, target);
  }
  return way;
}

class Copier {
 public:
  Copier(ops::FileSystem& fs, const FillIds& ids, sys::BorrowedFd root)
      : fs_(fs), ids_(ids), privileges_(sys::current_privileges()), root_(root) {}

  /// The content and then the attributes of the directory `from`, into the new directory `to`.
  Status copy_directory(const Found& from, sys::BorrowedFd to, const std::string& path) {
    for (const std::string& name : TRY(Names::of(fs_, from.node()))) {
      auto entry = fs_.lookup(from.node(), name.c_str());
      if (!entry) {
        return entry.error();
      }
      TRY(copy(Found{*std::move(entry)}, to, name.c_str(),
               path.empty() ? name : path + "/" + name));
    }
    return copy_attributes(from, {to, ""});
  }

 private:
  Status copy(const Found& from, sys::BorrowedFd to, const char* name, const std::string& path) {
    const FileStat& stat = from.stat();
    if (stat.is_directory()) {
      TRY(sys::make_directory(to, name, 0700));
      const sys::UniqueFd made = TRY(sys::open_listing({to, name}));
      return copy_directory(from, made.borrow(), path);
    }
    if (stat.nlink > 1) {
      const auto [first, is_new] = linked_.try_emplace(stat.ino, path);
      if (!is_new) {
        return sys::make_link({root_, first->second.c_str()}, to, name);
      }
    }
    if (stat.is_regular()) {
      const sys::UniqueFd file = TRY(sys::create_file(to, name, 0600));
      TRY(copy_data(from, file.borrow()));
      return copy_attributes(from, {file.borrow(), ""});
    }
    if (stat.is_symlink()) {
      TRY(sys::make_symlink(TRY(fs_.readlink(from.node())).c_str(), to, name));
    } else {
      TRY(sys::make_node(to, name, stat.type() | 0600U, stat.rdev));
    }
    return copy_attributes(from, {to, name});
  }

  Status copy_data(const Found& from, sys::BorrowedFd to) {
    const std::int64_t size = from.stat().size_bytes;
    std::int64_t at = 0;
    while (at < size) {
      const auto data = fs_.lseek(from.node(), at, sys::kSeekData);
      if (!data && data.error() == ENXIO) {
        break;
      }
      const std::int64_t begin = TRY(Result<std::int64_t>{data});
      const std::int64_t end = TRY(fs_.lseek(from.node(), begin, sys::kSeekHole));
      for (at = begin; at < std::min(end, size);) {
        const auto want = std::min<std::size_t>(buffer_.size(), static_cast<std::size_t>(end - at));
        const std::size_t got = TRY(fs_.read(from.node(), buffer_.data(), want, at));
        if (got == 0) {
          return Errno{EIO};  // a layer that shrinks
        }
        TRY(sys::write_all_at(to, buffer_.data(), got, at));
        at += static_cast<std::int64_t>(got);
      }
    }
    return sys::resize(to, size);
  }

  Status copy_owner(const FileStat& stat, sys::ObjectRef object) {
    if (!privileges_.chown) {
      return {};
    }
    const uid_t uid = ids_.uids.squashed() ? static_cast<uid_t>(-1)
                                           : TRY(ids_.uids.to_disk_of_maker(stat.uid, 0));
    const gid_t gid = ids_.gids.squashed() ? static_cast<gid_t>(-1)
                                           : TRY(ids_.gids.to_disk_of_maker(stat.gid, 0));
    return sys::change_owner(object, uid, gid);
  }

  Status copy_xattrs(const Found& from, sys::ObjectRef object) {
    RequestContext context;
    context.uid = privileges_.euid;
    const auto names = fs_.listxattr(context, from.node());
    if (!names) {
      return names.error() == EOPNOTSUPP ? Status{} : Status{names.error()};
    }
    for (std::size_t i = 0; i < names->size(); i += std::string_view{&(*names)[i]}.size() + 1) {
      const char* const name = &(*names)[i];
      std::string value(TRY(fs_.getxattr(from.node(), name, nullptr, 0)), '\0');
      value.resize(TRY(fs_.getxattr(from.node(), name, value.data(), value.size())));
      const Status set = sys::set_xattr(object, name, value, 0);
      const bool of_user = std::string_view{name}.starts_with("user.");
      const bool refused =
          !set && (set.error() == EOPNOTSUPP || (set.error() == EPERM && !of_user));
      if (!set && !refused) {
        return set.error();
      }
    }
    return {};
  }

  /// In this order: chown takes suid and capabilities away, ACLs change the mode.
  Status copy_attributes(const Found& from, sys::ObjectRef object) {
    const FileStat& stat = from.stat();
    TRY(copy_owner(stat, object));
    TRY(copy_xattrs(from, object));
    if (!stat.is_symlink()) {
      TRY(sys::change_mode(object, stat.mode & kPermissionMask));
    }
    return sys::change_times(object, {TimeChange::Kind::kValue, stat.atime},
                             {TimeChange::Kind::kValue, stat.mtime});
  }

  ops::FileSystem& fs_;
  const FillIds& ids_;
  const sys::Privileges privileges_;
  const sys::BorrowedFd root_;
  std::map<ino_t, std::string> linked_;
  std::vector<char> buffer_ = std::vector<char>(kPiece_bytes);
};

/// What a fill left that was killed. Ours is the only fill of this volume.
Status remove_left_over(const std::string& directory) {
  const sys::UniqueFd listed = TRY(sys::open_directory_path(directory.c_str()));
  const sys::UniqueFd listing = TRY(sys::open_listing({listed.borrow(), ""}));
  std::vector<std::string> old;
  TRY(sys::read_directory(listing.borrow(), [&](const sys::RawEntry& entry) {
    if (std::string_view{entry.name}.starts_with(kStagePrefix)) {
      old.emplace_back(entry.name);
    }
    return sys::Visit::kContinue;
  }));
  for (const std::string& name : old) {
    TRY(sys::remove_tree(directory + "/" + name));
  }
  return {};
}

}  // namespace

Status fill_volume(ops::FileSystem& filesystem, const VolumeMount& volume, const FillIds& ids) {
  const auto way = walk(filesystem, volume.destination);
  if (!way) {
    const bool absent = way.error() == ENOENT || way.error() == ENOTDIR;
    return absent ? Status{} : Status{way.error()};
  }
  if (way->empty() || !way->back().node().is_directory()) {
    return {};
  }
  const std::size_t slash = volume.source.rfind('/');
  const std::string directory = volume.source.substr(0, slash);
  TRY(remove_left_over(directory));
  const sys::UniqueFd parent = TRY(sys::open_directory_path(directory.c_str()));
  const std::string stage = std::string{kStagePrefix} + TRY(sys::random_hex(8));
  TRY(sys::make_directory(parent.borrow(), stage.c_str(), 0700));
  const ScopeExit clean{[&] { (void)sys::remove_tree(directory + "/" + stage); }};
  const sys::UniqueFd root = TRY(sys::open_listing({parent.borrow(), stage.c_str()}));
  Copier copier{filesystem, ids, root.borrow()};
  TRY(copier.copy_directory(way->back(), root.borrow(), {}));
  TRY(sys::sync_filesystem(root.borrow()));
  // rename(2) replaces an empty directory, and no other.
  const Status published = sys::rename_entry(parent.borrow(), stage.c_str(), parent.borrow(),
                                             volume.source.c_str() + slash + 1, 0);
  if (!published) {
    const bool not_empty = published.error() == ENOTEMPTY || published.error() == EEXIST;
    return not_empty ? Status{} : published;
  }
  return sys::sync_directory(directory);
}

}  // namespace plyfs::fill
