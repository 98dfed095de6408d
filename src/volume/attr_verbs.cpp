// getattr, setattr, readlink, statfs, extended attributes, inode flags.
#include <cstring>

#include "base/xattr_names.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "volume/tree.h"

namespace plyfs::volume {
namespace {

constexpr const char* kTrustedPrefix = "trusted.";

}  // namespace

Result<FileStat> VolumeTree::getattr(VolumeNode& node) {
  if (node.made_up() != nullptr) {
    FileStat stat = *node.made_up();
    stat.ino = shown_ino(node);
    stat.uid = options_.uids.to_view(stat.uid);
    stat.gid = options_.gids.to_view(stat.gid);
    return stat;
  }
  const sys::FdPin object = TRY(handle(node));
  return view(node, TRY(sys::stat_object({object->borrow(), ""})));
}

Result<std::optional<mode_t>> VolumeTree::mode_to_leave(const RequestContext& context,
                                                        sys::ObjectRef object) {
  const FileStat stat = TRY(sys::stat_object(object));
  return sys::mode_to_leave(context, stat, options_.gids.to_view(stat.gid));
}

/// The kernel, who does not see the bits, asks nobody to take them off a file that is written.
Status VolumeTree::drop_privileges(sys::ObjectRef object) const {
  if (!options_.no_privileges) {
    return {};
  }
  const FileStat stat = TRY(sys::stat_object(object));
  const mode_t left = without_privileges(stat.mode);
  return left == stat.mode ? Status{} : sys::change_mode(object, left & kPermissionMask);
}

Status VolumeTree::kill_privileges(const RequestContext& context, sys::ObjectRef object) {
  const std::optional<mode_t> mode = TRY(mode_to_leave(context, object));
  return mode ? sys::change_mode(object, *mode) : Status{};
}

Result<FileStat> VolumeTree::setattr(const RequestContext& context, VolumeNode& node,
                                     const AttrChange& change) {
  TRY(writable(node));
  const sys::FdPin pin = TRY(handle(node));
  const sys::ObjectRef object{pin->borrow(), ""};
  if (change.size_bytes) {
    TRY(resize(node, *change.size_bytes));
  }
  if (change.uid || change.gid) {
    uid_t uid = static_cast<uid_t>(-1);
    gid_t gid = static_cast<gid_t>(-1);
    if (change.uid && !options_.uids.squashed()) {
      uid = TRY(options_.uids.to_disk(*change.uid));
    }
    if (change.gid && !options_.gids.squashed()) {
      gid = TRY(options_.gids.to_disk(*change.gid));
    }
    TRY(sys::change_owner(object, uid, gid));
  }
  if (change.kill_suid_sgid) {
    TRY(kill_privileges(context, object));
  }
  if (change.size_bytes && !change.mode) {
    TRY(drop_privileges(object));
  }
  if (change.mode) {
    TRY(sys::change_mode(
        object, made_mode(node.is_directory() ? kTypeDirectory | *change.mode : *change.mode)));
    if ((*change.mode & kExecuteBits) != 0) {
      // Open for writing here, it could not be executed on the host (ETXTBSY).
      (void)fds_.insert({&node, kHandle}, TRY(sys::reopen_handle(pin->borrow())),
                        sys::FdCache::IfPresent::kKeep);
      (void)fds_.erase({&node, kWrite});
    }
  }
  if (change.sets_times()) {
    TRY(sys::change_times(object, change.atime, change.mtime));
  }
  return view(node, TRY(sys::stat_object(object)));
}

Result<std::string> VolumeTree::readlink(VolumeNode& node) {
  const sys::FdPin object = TRY(handle(node));
  return sys::read_link({object->borrow(), ""});
}

Result<FilesystemStat> VolumeTree::statfs(VolumeNode& node) {
  if (node.made_up() != nullptr) {
    FilesystemStat nothing;
    nothing.block_size_bytes = nothing.fragment_size_bytes = 4096;
    return nothing;
  }
  const sys::FdPin object = TRY(handle(node));
  return sys::stat_filesystem(object->borrow());
}

Result<std::size_t> VolumeTree::getxattr(VolumeNode& node, const char* name, void* value,
                                         std::size_t size_bytes) {
  if (!options_.xattrs) {
    return Errno{EOPNOTSUPP};
  }
  if (node.made_up() != nullptr ||
      (drops_privileges(node) && std::strcmp(name, kCapabilityXattr) == 0)) {
    return Errno{ENODATA};
  }
  const sys::FdPin object = TRY(handle(node));
  return sys::get_xattr_raw({object->borrow(), ""}, name, value, size_bytes);
}

Result<std::string> VolumeTree::listxattr(const RequestContext& context, VolumeNode& node) {
  if (!options_.xattrs) {
    return Errno{EOPNOTSUPP};
  }
  if (node.made_up() != nullptr) {
    return std::string{};
  }
  const sys::FdPin object = TRY(handle(node));
  const std::string stored = TRY(sys::list_xattrs({object->borrow(), ""}));
  const bool drops = drops_privileges(node);
  if (context.uid == 0 && !drops) {
    return stored;
  }
  std::string shown;
  for (std::size_t at = 0; at < stored.size(); at += std::strlen(&stored[at]) + 1) {
    const std::string_view name{&stored[at]};
    const bool hidden = (context.uid != 0 && name.starts_with(kTrustedPrefix)) ||
                        (drops && name == kCapabilityXattr);
    if (!hidden) {
      shown.append(name).push_back('\0');
    }
  }
  return shown;
}

Status VolumeTree::setxattr(const RequestContext& context, VolumeNode& node, const char* name,
                            std::string_view value, int flags) {
  TRY(writable(node));
  if (!options_.xattrs) {
    return Errno{EOPNOTSUPP};
  }
  if (options_.no_privileges && std::strcmp(name, kCapabilityXattr) == 0) {
    return Errno{EPERM};
  }
  const sys::FdPin object = TRY(handle(node));
  TRY(sys::set_xattr({object->borrow(), ""}, name, value, flags));
  if (std::strcmp(name, "system.posix_acl_access") != 0) {
    return {};
  }
  // As chmod(2) has it (Linux: posix_acl_update_mode).
  const FileStat stat = TRY(sys::stat_object({object->borrow(), ""}));
  return (stat.mode & kSetGid) != 0 && context.outside_of_group
             ? sys::change_mode({object->borrow(), ""}, stat.mode & kPermissionMask & ~kSetGid)
             : Status{};
}

Status VolumeTree::removexattr(VolumeNode& node, const char* name) {
  TRY(writable(node));
  if (!options_.xattrs) {
    return Errno{EOPNOTSUPP};
  }
  const sys::FdPin object = TRY(handle(node));
  return sys::remove_xattr({object->borrow(), ""}, name);
}

Result<std::uint32_t> VolumeTree::inode_flags(VolumeNode& node) {
  if (node.is_directory()) {
    const sys::UniqueFd directory = TRY(listing(node));
    return sys::inode_flags(directory.borrow());
  }
  if (!node.is_regular()) {
    return Errno{ENOTTY};
  }
  const sys::FdPin file = TRY(reader(node));
  return sys::inode_flags(file->borrow());
}

Status VolumeTree::set_inode_flags(VolumeNode& node, std::uint32_t flags) {
  TRY(writable(node));
  if (node.is_directory()) {
    const sys::UniqueFd directory = TRY(listing(node));
    return sys::set_inode_flags(directory.borrow(), flags);
  }
  if (!node.is_regular()) {
    return Errno{ENOTTY};
  }
  const sys::FdPin file = TRY(reader(node));
  return sys::set_inode_flags(file->borrow(), flags);
}

}  // namespace plyfs::volume
