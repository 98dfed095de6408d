// create, mkdir, mknod, symlink, O_TMPFILE.
//
// Where the upper layer has nothing at the name, one system call under the caller's ids and umask
// makes the object: setgid inheritance and default ACLs are then the kernel's own. Over a whiteout,
// or where the group takes a call of its own, it is made in a private mirror of the directory and
// published by one rename.
#include "base/log.h"
#include "layer/format.h"
#include "ops/filesystem.h"
#include "sys/creds.h"
#include "sys/dir_ops.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs::ops {

using node::DirLock;
using node::LockMode;
using node::Node;
using node::NodeRef;
using node::NodeSeed;

namespace {

constexpr const char* kDefaultAcl = "system.posix_acl_default";
constexpr const char* kMirrorName = "new";

}  // namespace

/// Makes the object as the caller: owner, umask. Where one call is not enough for that and
/// `incomplete` is given, that is set and nothing is made: it would be seen half done.
Status FileSystem::make_owned(const RequestContext& context, const Making& making,
                              sys::BorrowedFd dir, const char* name, bool* incomplete) {
  const sys::Privileges& privileges = f_.engine->policy().privileges;
  const uid_t uid = f_.uids.squashed() ? privileges.euid
                                       : TRY(f_.uids.to_disk_of_maker(context.uid, context.uid));
  const gid_t gid = f_.gids.squashed() ? privileges.egid
                                       : TRY(f_.gids.to_disk_of_maker(context.gid, context.uid));
  sys::set_thread_umask(context.umask);
  const sys::ScopedOwner owner{uid, gid};
  if (!owner.granted()) {
    return Errno{EPERM};
  }
  const bool needs_group =
      !owner.group_granted() && (TRY(sys::stat_object({dir, ""})).mode & kSetGid) == 0;
  if (needs_group && incomplete != nullptr) {
    *incomplete = true;
    return {};
  }
  TRY(making.make(dir, name));
  if (!needs_group) {
    return {};
  }
  // A supplementary group of an ordinary user: chown(2) is allowed what setfsgid(2) is not.
  const sys::ObjectRef made =
      *name == '\0' ? sys::ObjectRef{making.file->borrow(), ""} : sys::ObjectRef{dir, name};
  return f_.writer->change_owner(made, static_cast<uid_t>(-1), gid);
}

/// Makes the object in the work directory, and publishes it complete.
Status FileSystem::make_staged(const RequestContext& context, const Making& making,
                               const UpperPlace& place, const char* name, UpperState over) {
  layer::UpperWriter& writer = *f_.writer;
  const layer::StagedEntry mirror = f_.workdir->stage();
  TRY(writer.make_directory(mirror.directory(), mirror.name(), 0700));
  const sys::UniqueFd dir = TRY(sys::open_directory_at(mirror.directory(), mirror.name()));
  const sys::ObjectRef mirrored{dir.borrow(), ""};
  const FileStat parent = TRY(sys::stat_object({place.fd->borrow(), ""}));
  if ((parent.mode & kSetGid) != 0) {
    TRY(writer.change_owner(mirrored, static_cast<uid_t>(-1), parent.gid));
  }
  if (const auto acl = TRY(sys::get_xattr({place.fd->borrow(), ""}, kDefaultAcl))) {
    TRY(writer.set_xattr(mirrored, kDefaultAcl, *acl, 0));
  }
  // Whoever the caller is, the mirror may be written; nobody else can reach it (work is 0700).
  TRY(writer.change_mode(mirrored, 0777 | (parent.mode & kSetGid)));
  TRY(make_owned(context, making, dir.borrow(), kMirrorName, nullptr));
  if (making.type == kTypeDirectory && over == UpperState::kWhiteout) {
    const sys::UniqueFd made = TRY(sys::open_directory_at(dir.borrow(), kMirrorName));
    TRY(f_.whiteouts->set_opaque(made.borrow()));
  }
  layer::StagedEntry staged = f_.workdir->stage();
  TRY(writer.rename_entry(dir.borrow(), kMirrorName, staged.directory(), staged.name(), 0));
  return f_.whiteouts->publish_over(staged, place.directory(), name, making.type == kTypeDirectory);
}

/// What was made cannot be told of, so it goes again.
Errno FileSystem::take_back(const UpperPlace& place, const char* name, Errno error) {
  layer::StagedEntry trash = f_.workdir->stage();
  if (const Status gone = trash.take(place.fd->borrow(), name); !gone) {
    layer::log_clean_up("taking back " + log::printable(name), gone.error());
  }
  return error;
}

Result<Entry> FileSystem::adopt(Node& parent, const char* name, const UpperPlace& place,
                                sys::UniqueFd file) {
  if (file.valid() && f_.stamp_new_files) {
    // The time that the directory got, which is later than the file's: else the kernel, which keeps
    // times, finds at the first write that time went on, and tells us (D-058). Failing costs that.
    const TimeChange now{TimeChange::Kind::kNow, {}};
    (void)f_.writer->change_times({file.borrow(), ""}, now, now);
  }
  const auto made = sys::stat_object({place.fd->borrow(), name});
  if (!made) {
    return take_back(place, name, made.error());
  }
  const FileStat& stat = *made;
  NodeSeed seed;
  seed.entry_type = entry_type_of(stat.mode);
  seed.layer = layer::kUpper;
  seed.ino = f_.stack.shown_ino(layer::kUpper, stat.dev, stat.ino);
  if (stat.is_directory()) {
    merge::DirectoryPart part;
    part.layer = layer::kUpper;
    part.aufs.set(layer::AufsHint::State::kNone);
    seed.parts.push_back(std::move(part));
  }
  NodeRef node = table_.attach(parent, name, std::move(seed));
  names_changed(parent);
  if (file.valid()) {
    node->has_io.store(true);
    node->lacks_capability.store(f_.xattrs);
    (void)io_.insert({node.get(), 2}, std::move(file), sys::FdCache::IfPresent::kReplace);
  }
  const FileStat shown = view_locked(*node, stat);
  return Entry{std::move(node), shown};
}

Status FileSystem::make_at(const RequestContext& context, const Making& making,
                           const UpperPlace& place, const char* name) {
  bool incomplete = false;
  if (place.part->aufs.state() == layer::AufsHint::State::kNone) {
    const Status made = make_owned(context, making, place.fd->borrow(), name, &incomplete);
    if ((made && !incomplete) || (!made && made.error() != EEXIST)) {
      return made;
    }
  }  // else `.wh.NAME` may be there: ask first
  const UpperState state = TRY(upper_state(place, name));
  if (state == UpperState::kObject) {
    return Errno{EEXIST};
  }
  if (state == UpperState::kAbsent && !incomplete) {
    TRY(make_owned(context, making, place.fd->borrow(), name, &incomplete));
  }
  return state == UpperState::kWhiteout || incomplete
             ? make_staged(context, making, place, name, state)
             : Status{};
}

Result<Entry> FileSystem::make_object(const RequestContext& context, Node& parent, const char* name,
                                      const Making& making) {
  TRY(writable());
  TRY(check_new_name(name));
  SharedLock tree{locks_.tree};
  TRY(ensure_directory_upper(parent));
  const DirLock lock{locks_, LockMode::kExclusive, &parent};
  const UpperPlace place = TRY(upper_place(parent));
  TRY(make_at(context, making, place, name));
  return adopt(parent, name, place,
               making.file != nullptr ? std::move(*making.file) : sys::UniqueFd{});
}

Result<Entry> FileSystem::create(const RequestContext& context, Node& parent, const char* name,
                                 mode_t mode) {
  sys::UniqueFd file;
  Making making{kTypeRegular, {}, &file};
  making.make = [&](sys::BorrowedFd dir, const char* at) -> Status {
    file = TRY(f_.writer->create_file(dir, at, made_mode(mode)));
    return {};
  };
  return make_object(context, parent, name, making);
}

Result<Entry> FileSystem::mkdir(const RequestContext& context, Node& parent, const char* name,
                                mode_t mode) {
  return make_object(context, parent, name,
                     {kTypeDirectory, [&](sys::BorrowedFd dir, const char* at) {
                        return f_.writer->make_directory(dir, at, mode & kPermissionMask);
                      }});
}

Result<Entry> FileSystem::mknod(const RequestContext& context, Node& parent, const char* name,
                                mode_t mode, dev_t device) {
  if ((mode & kTypeMask) == kTypeRegular || (mode & kTypeMask) == 0) {
    return create(context, parent, name, mode);
  }
  if ((mode & kTypeMask) == kTypeChar && device == 0) {
    return Errno{EPERM};  // it would be a whiteout (kernel overlayfs refuses it likewise)
  }
  return make_object(context, parent, name,
                     {mode & kTypeMask, [&](sys::BorrowedFd dir, const char* at) {
                        return f_.writer->make_node(dir, at, (mode & kTypeMask) | made_mode(mode),
                                                    device);
                      }});
}

Result<Entry> FileSystem::symlink(const RequestContext& context, const char* target, Node& parent,
                                  const char* name) {
  return make_object(context, parent, name,
                     {kTypeSymlink, [&](sys::BorrowedFd dir, const char* at) {
                        return f_.writer->make_symlink(target, dir, at);
                      }});
}

Result<Entry> FileSystem::create_unnamed(const RequestContext& context, Node& parent, mode_t mode) {
  TRY(writable());
  SharedLock tree{locks_.tree};
  TRY(ensure_directory_upper(parent));
  const DirLock lock{locks_, LockMode::kShared, &parent};
  const UpperPlace place = TRY(upper_place(parent));
  sys::UniqueFd file;
  const Making making{kTypeRegular,
                      [&](sys::BorrowedFd dir, const char*) -> Status {
                        file = TRY(f_.writer->create_unnamed(dir, made_mode(mode)));
                        return {};
                      },
                      &file};
  TRY(make_owned(context, making, place.fd->borrow(), "", nullptr));
  const FileStat stat = TRY(sys::stat_object({file.borrow(), ""}));
  NodeSeed seed;
  seed.entry_type = entry_type_of(stat.mode);
  seed.layer = layer::kUpper;
  seed.ino = f_.stack.shown_ino(layer::kUpper, stat.dev, stat.ino);
  auto pin = std::make_shared<const sys::UniqueFd>(std::move(file));
  NodeRef node = table_.attach_orphan(std::move(seed), {std::move(pin), {}});
  const FileStat shown = view_locked(*node, stat);
  return Entry{std::move(node), shown};
}

}  // namespace plyfs::ops
