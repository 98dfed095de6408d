// getattr, setattr, readlink, statfs.
#include "base/xattr_names.h"
#include "layer/format.h"
#include "ops/filesystem.h"
#include "sys/creds.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"

namespace plyfs::ops {

using node::DirLock;
using node::LockMode;
using node::Node;

namespace {

constexpr mode_t kOwnerSearch = 0100;

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

/// What does not depend on what became of the object since.
FileStat FileSystem::view_found(layer::LayerIndex layer, const FileStat& disk, std::uint64_t ino,
                                std::size_t part_count) {
  FileStat stat = disk;
  stat.mode = drops_privileges(layer) ? without_privileges(disk.mode) : disk.mode;
  stat.ino = ino;
  stat.uid = f_.uids.to_view(disk.uid);
  stat.gid = f_.gids.to_view(disk.gid);
  // Counting subdirectories of several layers is not worth it; 1 means "not counted" to find(1)
  // (kernel overlayfs does the same).
  if (part_count > 1) {
    stat.nlink = 1;
  }
  return stat;
}

/// Disk attributes as users see them. For directories the caller holds the DirLock.
FileStat FileSystem::view_locked(Node& node, const FileStat& disk) {
  FileStat stat = view_found(node.in_upper() ? layer::kUpper : node.layer(), disk, node.ino(),
                             node.is_directory() ? node.directory().parts.size() : 0);
  if (node.is_directory()) {
    if (node.directory().removed.load()) {
      stat.nlink = 0;
    }
    node.directory().closed.store((disk.mode & kOwnerSearch) == 0, std::memory_order_relaxed);
    return stat;
  }
  if (table_.has_extra(node)) {
    const node::FileExtra extra = table_.extra_of(node);
    if (!extra.index_name.empty()) {
      stat.nlink = static_cast<nlink_t>(extra.union_nlink);
    } else if (extra.orphan && !node.in_upper()) {
      stat.nlink = 0;  // the lower file still has its name, but users deleted it
    }
    if (extra.data) {
      stat.blocks_512 = extra.data->blocks_512;
    }
    if (extra.orphan && extra.union_nlink == 0 && extra.lower_key && extra.index_name.empty()) {
      stat.nlink = 0;
    }
  }
  return stat;
}

Result<FileStat> FileSystem::stat_node(Node& node) {
  if (node.is_directory() && node.directory().lower_stat && !node.in_upper() &&
      !node.directory().removed.load()) {
    return *node.directory().lower_stat;  // lower layers do not change
  }
  Located located{*this};
  const sys::ObjectRef object = TRY(located.find(node));
  const FileStat disk = TRY(sys::stat_object(object));
  return view_locked(node, disk);
}

Result<FileStat> FileSystem::getattr(Node& node) { return stat_node(node); }

Result<std::string> FileSystem::readlink(Node& node) {
  Located located{*this};
  return sys::read_link(TRY(located.find(node)));
}

Result<std::optional<mode_t>> FileSystem::mode_to_leave(const RequestContext& context,
                                                        sys::ObjectRef object) {
  const FileStat stat = TRY(sys::stat_object(object));
  return sys::mode_to_leave(context, stat, f_.gids.to_view(stat.gid));
}

/// The kernel, who does not see the bits, asks nobody to take them off a file that is written.
Status FileSystem::drop_privileges(sys::ObjectRef object) {
  if (!f_.no_privileges) {
    return {};
  }
  const FileStat stat = TRY(sys::stat_object(object));
  const mode_t left = without_privileges(stat.mode);
  return left == stat.mode ? Status{} : f_.writer->change_mode(object, left & kPermissionMask);
}

Status FileSystem::kill_privileges(const RequestContext& context, sys::ObjectRef object) {
  const std::optional<mode_t> mode = TRY(mode_to_leave(context, object));
  return mode ? f_.writer->change_mode(object, *mode) : Status{};
}

Status FileSystem::resize(sys::ObjectRef object, Node& node, const AttrChange& change) {
  layer::UpperWriter& writer = *f_.writer;
  const FileStat before = TRY(sys::stat_object(object));
  const Status removed = writer.remove_xattr(object, kCapabilityXattr);
  if (!removed && removed.error() != ENODATA && removed.error() != EOPNOTSUPP &&
      removed.error() != EPERM) {
    return removed;
  }
  if (sys::FdPin open = io_.find({&node, 2})) {
    TRY(writer.resize(open->borrow(), *change.size_bytes));
  } else {
    auto file = open_object(object, sys::Access::kReadWrite);
    TRY(file ? writer.resize(file->borrow(), *change.size_bytes)
             : writer.resize_object(object, *change.size_bytes));
  }
  if (before.size_bytes == *change.size_bytes && change.mtime.kind == TimeChange::Kind::kOmit) {
    // truncate(2) to the present size leaves mtime alone, ftruncate(2) does not.
    put_back_mtime(node, object, before);
  }
  return {};
}

Status FileSystem::change_owner(sys::ObjectRef object, const AttrChange& change) {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  if (change.uid && !f_.uids.squashed()) {
    uid = TRY(f_.uids.to_disk(*change.uid));
  }
  if (change.gid && !f_.gids.squashed()) {
    gid = TRY(f_.gids.to_disk(*change.gid));
  }
  return f_.writer->change_owner(object, uid, gid);
}

/// Several changes in one request. The first that succeeds is seen, so what fails after it is not
/// told. `seen`: a copy-up has shown the new size already.
Status FileSystem::apply(const RequestContext& context, sys::ObjectRef object, Node& node,
                         const AttrChange& change, bool seen) {
  const auto step = [&](Status done) -> Status {
    if (!done && seen) {
      layer::log_clean_up("changing further attributes of " + describe(node), done.error());
      return {};
    }
    seen = true;
    return done;
  };
  const bool kill = change.kill_suid_sgid && !change.mode;
  if (change.size_bytes) {
    TRY(drop_privileges(object));
    if (kill) {
      TRY(kill_privileges(context, object));
    }
    TRY(step(resize(object, node, change)));
  }
  if (change.uid || change.gid) {
    TRY(step(change_owner(object, change)));
  }
  if (kill && !change.size_bytes) {
    TRY(step(kill_privileges(context, object)));
  }
  if (change.mode) {
    const mode_t mode = node.is_directory() ? kTypeDirectory | *change.mode : *change.mode;
    TRY(step(f_.writer->change_mode(object, made_mode(mode))));
  }
  return change.sets_times() ? step(f_.writer->change_times(object, change.atime, change.mtime))
                             : Status{};
}

/// What must be in the upper before the attributes change: the data of a file that others could
/// mark afterwards. A moved directory cannot become one whose mark would not be believed.
Result<FileSystem::Want> FileSystem::want_for(Node& node, const AttrChange& change) {
  constexpr mode_t kSharedWrite = 0022;
  const bool opens = change.mode && (*change.mode & kSharedWrite) != 0;
  if (f_.engine->policy().marks != XattrNamespace::kUser || f_.stack[layer::kUpper].closed ||
      !(opens || change.uid || change.gid)) {
    return Want::kMetadata;
  }
  Located located{*this};
  FileStat after = TRY(sys::stat_object(TRY(located.find(node))));
  after.mode = change.mode ? after.type() | (*change.mode & kPermissionMask) : after.mode;
  after.uid = change.uid && !f_.uids.squashed() ? TRY(f_.uids.to_disk(*change.uid)) : after.uid;
  after.gid = change.gid && !f_.gids.squashed() ? TRY(f_.gids.to_disk(*change.gid)) : after.gid;
  if (!others_may_mark(after)) {
    return Want::kMetadata;
  }
  const bool moved = node.is_directory() && node.in_upper() && node.directory().lower_path;
  return moved ? Result<Want>{Errno{EPERM}} : Result<Want>{Want::kData};
}

Result<FileStat> FileSystem::setattr(const RequestContext& context, Node& node,
                                     const AttrChange& change) {
  TRY(writable());
  if (change.times_of_cache && (!node.in_upper() || table_.name_count(node) == 0)) {
    const FileStat known = TRY(stat_node(node));
    if (same_time(known.mtime, change.mtime.value)) {
      return known;  // after unlink: no reason to copy up what nobody can find any more
    }
  }
  AttrChange wanted = change;
  bool seen = false;
  if (change.size_bytes) {
    if (!node.in_upper() && change.mtime.kind == TimeChange::Kind::kOmit &&
        TRY(stat_node(node)).size_bytes != *change.size_bytes) {
      wanted.mtime.kind = TimeChange::Kind::kNow;  // the copy may have the new size already
    }
    seen = !node.in_upper() || node.metacopy.load();
    TRY(ensure_upper(node, Want::kTruncated, *change.size_bytes));
  } else {
    TRY(ensure_upper(node, TRY(want_for(node, change))));
  }
  const node::CopyUpLock serial{locks_, node};  // see write() of the page cache
  Located located{*this};
  const sys::ObjectRef object = TRY(located.find(node));
  seen = seen && TRY(sys::stat_object(object)).size_bytes == *change.size_bytes;
  TRY(apply(context, object, node, wanted, seen));
  return view_locked(node, TRY(sys::stat_object(object)));
}

Result<FilesystemStat> FileSystem::statfs(Node& /*node*/) {
  const layer::LayerIndex shown = f_.stack.has_upper() ? layer::kUpper : layer::LayerIndex{1};
  return sys::stat_filesystem(f_.stack[shown].root.borrow());
}

}  // namespace plyfs::ops
