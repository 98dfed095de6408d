// New names, and names that go or move.
#include "sys/dir_ops.h"
#include "sys/object_stat.h"
#include "volume/tree.h"

namespace plyfs::volume {

/// Calls `make` as the caller: owner, umask. See D-015 for why the kernel does the rest.
template <typename Make>
Status VolumeTree::make_owned(const RequestContext& context, sys::BorrowedFd dir, Make make) {
  const sys::Privileges& privileges = options_.privileges;
  const uid_t uid = options_.uids.squashed()
                        ? privileges.euid
                        : TRY(options_.uids.to_disk_of_maker(context.uid, context.uid));
  const gid_t gid = options_.gids.squashed()
                        ? privileges.egid
                        : TRY(options_.gids.to_disk_of_maker(context.gid, context.uid));
  sys::set_thread_umask(context.umask);
  const sys::ScopedOwner owner{uid, gid};
  if (!owner.granted()) {
    return Errno{EPERM};
  }
  const sys::ObjectRef made = TRY(make());
  if (owner.group_granted() || (TRY(sys::stat_object({dir, ""})).mode & kSetGid) != 0) {
    return {};
  }
  // A supplementary group of an ordinary user: chown(2) is allowed what setfsgid(2) is not.
  return sys::change_owner(made, static_cast<uid_t>(-1), gid);
}

Result<VolumeEntry> VolumeTree::create(const RequestContext& context, VolumeNode& parent,
                                       const char* name, mode_t mode) {
  TRY(writable(parent));
  const sys::FdPin dir = TRY(handle(parent));
  sys::UniqueFd file;
  TRY(make_owned(context, dir->borrow(), [&]() -> Result<sys::ObjectRef> {
    file = TRY(sys::create_file(dir->borrow(), name, made_mode(mode)));
    return sys::ObjectRef{file.borrow(), ""};
  }));
  return adopt_written(parent, name, std::move(file));
}

Result<VolumeEntry> VolumeTree::create_unnamed(const RequestContext& context, VolumeNode& parent,
                                               mode_t mode) {
  TRY(writable(parent));
  const sys::FdPin dir = TRY(handle(parent));
  sys::UniqueFd file;
  TRY(make_owned(context, dir->borrow(), [&]() -> Result<sys::ObjectRef> {
    file = TRY(sys::create_unnamed(dir->borrow(), made_mode(mode)));
    return sys::ObjectRef{file.borrow(), ""};
  }));
  sys::UniqueFd anchor = TRY(sys::reopen_handle(file.borrow()));
  VolumeEntry entry = TRY(adopt_written(parent, "", std::move(file)));
  nodes_.set_anchor(*entry.node, std::make_shared<const sys::UniqueFd>(std::move(anchor)));
  return entry;
}

Result<VolumeEntry> VolumeTree::mkdir(const RequestContext& context, VolumeNode& parent,
                                      const char* name, mode_t mode) {
  TRY(writable(parent));
  const sys::FdPin dir = TRY(handle(parent));
  TRY(make_owned(context, dir->borrow(), [&]() -> Result<sys::ObjectRef> {
    TRY(sys::make_directory(dir->borrow(), name, mode & kPermissionMask));
    return sys::ObjectRef{dir->borrow(), name};
  }));
  return adopt_named(parent, name, dir->borrow());
}

Result<VolumeEntry> VolumeTree::mknod(const RequestContext& context, VolumeNode& parent,
                                      const char* name, mode_t mode, dev_t device) {
  TRY(writable(parent));
  const sys::FdPin dir = TRY(handle(parent));
  TRY(make_owned(context, dir->borrow(), [&]() -> Result<sys::ObjectRef> {
    TRY(sys::make_node(dir->borrow(), name, (mode & kTypeMask) | made_mode(mode), device));
    return sys::ObjectRef{dir->borrow(), name};
  }));
  return adopt_named(parent, name, dir->borrow());
}

Result<VolumeEntry> VolumeTree::symlink(const RequestContext& context, const char* target,
                                        VolumeNode& parent, const char* name) {
  TRY(writable(parent));
  const sys::FdPin dir = TRY(handle(parent));
  TRY(make_owned(context, dir->borrow(), [&]() -> Result<sys::ObjectRef> {
    TRY(sys::make_symlink(target, dir->borrow(), name));
    return sys::ObjectRef{dir->borrow(), name};
  }));
  return adopt_named(parent, name, dir->borrow());
}

Result<VolumeEntry> VolumeTree::link(VolumeNode& node, VolumeNode& parent, const char* name) {
  if (node.volume() != parent.volume() || node.made_up() != nullptr) {
    return Errno{EXDEV};
  }
  TRY(writable(parent));
  const sys::FdPin dir = TRY(handle(parent));
  const sys::FdPin object = TRY(handle(node));
  TRY(sys::make_link({object->borrow(), ""}, dir->borrow(), name));
  const FileStat stat = TRY(sys::stat_object({object->borrow(), ""}));
  nodes_.set_place(node, parent, name);
  return VolumeEntry{nodes_.ref(node), view(node, stat)};
}

/// Before a name goes: an object that the kernel knows may be open, and must stay within reach
/// without a name, until FORGET.
VolumeNodeRef VolumeTree::keep_target(VolumeNode& parent, sys::BorrowedFd dir, const char* name) {
  const auto stat = sys::stat_object({dir, name});
  if (!stat) {
    return {};  // the call that follows will tell
  }
  VolumeNodeRef node = nodes_.find({parent.volume(), stat->dev, stat->ino});
  if (!node || (!stat->is_directory() && stat->nlink > 1)) {
    return {};
  }
  auto opened = handle(*node);
  if (!opened) {
    return {};
  }
  nodes_.set_anchor(*node, std::move(*opened));
  return node;
}

Status VolumeTree::unlink(VolumeNode& parent, const char* name) {
  TRY(writable(parent));
  const sys::FdPin dir = TRY(handle(parent));
  const VolumeNodeRef target = keep_target(parent, dir->borrow(), name);
  const Status removed = sys::unlink_file(dir->borrow(), name);
  if (!removed && target) {
    nodes_.set_anchor(*target, nullptr);
  }
  return removed;
}

Status VolumeTree::rmdir(VolumeNode& parent, const char* name) {
  TRY(writable(parent));
  const sys::FdPin dir = TRY(handle(parent));
  const VolumeNodeRef target = keep_target(parent, dir->borrow(), name);
  const Status removed = sys::remove_directory(dir->borrow(), name);
  if (!removed && target) {
    nodes_.set_anchor(*target, nullptr);
  }
  return removed;
}

/// The node of what is at that name now is found there from now on.
void VolumeTree::moved(VolumeNode& parent, sys::BorrowedFd dir, const char* name) {
  if (const auto stat = sys::stat_object({dir, name})) {
    if (const VolumeNodeRef node = nodes_.find({parent.volume(), stat->dev, stat->ino})) {
      nodes_.set_place(*node, parent, name);
    }
  }
}

Status VolumeTree::rename(VolumeNode& from_parent, const char* from, VolumeNode& to_parent,
                          const char* to, unsigned flags) {
  if (from_parent.volume() != to_parent.volume()) {
    return Errno{EXDEV};
  }
  TRY(writable(from_parent));
  TRY(writable(to_parent));
  const sys::FdPin from_dir = TRY(handle(from_parent));
  const sys::FdPin to_dir = TRY(handle(to_parent));
  const bool exchange = (flags & sys::kRenameExchange) != 0;
  VolumeNodeRef target;
  if (!exchange && (flags & sys::kRenameNoReplace) == 0) {
    target = keep_target(to_parent, to_dir->borrow(), to);
  }
  const Status renamed = sys::rename_entry(from_dir->borrow(), from, to_dir->borrow(), to, flags);
  if (!renamed) {
    if (target) {
      nodes_.set_anchor(*target, nullptr);
    }
    return renamed;
  }
  moved(to_parent, to_dir->borrow(), to);
  if (exchange) {
    moved(from_parent, from_dir->borrow(), from);
  }
  return {};
}

}  // namespace plyfs::volume
