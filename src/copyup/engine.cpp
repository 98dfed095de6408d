#include "copyup/engine.h"

#include <cstring>
#include <string_view>

#include "base/xattr_names.h"
#include "copyup/data_copy.h"
#include "layer/format.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs::copyup {
namespace {

constexpr mode_t kModeOfCreation = 0777;
constexpr mode_t kStagedFileMode = 0600;
constexpr mode_t kStagedDirectoryMode = 0700;
constexpr std::string_view kSecurityPrefix = "security.";
constexpr std::string_view kAclPrefix = "system.posix_acl_";

TimeChange exactly(timespec time) { return {TimeChange::Kind::kValue, time}; }

/// Whether a failed copy of an xattr may be passed over. As kernel overlayfs: unsupported names
/// are, ACLs and security labels are not; but labels that only a privileged writer may set are
/// left out by an unprivileged daemon, like any copy made by that user.
bool may_drop(std::string_view name, Errno error, const sys::Privileges& privileges) {
  if (name.starts_with(kSecurityPrefix)) {
    const bool allowed = name == kCapabilityXattr ? privileges.setfcap : privileges.sys_admin;
    return !allowed && (error == EPERM || error == EOPNOTSUPP);
  }
  return error == EOPNOTSUPP && !name.starts_with(kAclPrefix);
}

}  // namespace

Result<Staged> Engine::stage(const Plan& plan) {
  Staged staged{workdir_.stage(), {}};
  TRY(make(plan, staged));
  // A regular file is open already: the shortest way to it.
  const sys::ObjectRef to =
      staged.file.valid() ? sys::ObjectRef{staged.file.borrow(), ""} : staged.entry.object();
  TRY(copy_xattrs(plan, to));
  TRY(write_marks(plan, to));
  TRY(set_attributes(plan, staged, to));
  TRY(sync_staged(plan, staged));
  return staged;
}

Status Engine::make(const Plan& plan, Staged& staged) {
  layer::UpperWriter& writer = workdir_.writer();
  const sys::BorrowedFd dir = staged.entry.directory();
  const char* name = staged.entry.name();
  if (plan.stat.is_regular()) {
    // Nobody else reaches the work directory: the mode to be saves setting it later.
    const mode_t mode = (plan.stat.mode & kModeOfCreation) | kStagedFileMode;
    staged.file = TRY(writer.create_file(dir, name, mode));
    if (plan.data == Plan::Data::kLeaveBelow) {
      TRY(writer.resize(staged.file.borrow(), plan.stat.size_bytes));
    } else if (plan.data_bytes > 0) {
      sys::UniqueFd opened;
      if (!plan.data_is_open) {
        opened = TRY(sys::open_file_quietly(plan.data_source));
      }
      const sys::BorrowedFd source = plan.data_is_open ? plan.data_source.dir : opened.borrow();
      TRY(copy_data(writer, source, staged.file.borrow(), plan.data_bytes, sync_follows()));
    }
  } else if (plan.stat.is_directory()) {
    TRY(writer.make_directory(dir, name, kStagedDirectoryMode));
  } else if (plan.stat.is_symlink()) {
    const std::string target = TRY(sys::read_link(plan.source));
    TRY(writer.make_symlink(target.c_str(), dir, name));
  } else {
    TRY(writer.make_node(dir, name, plan.stat.type() | kStagedFileMode, plan.stat.rdev));
  }
  const uid_t uid = policy_.keep_uid ? plan.stat.uid : policy_.privileges.euid;
  const gid_t gid = policy_.keep_gid ? plan.stat.gid : policy_.privileges.egid;
  // Asked rather than assumed: a setgid staging directory gives another group.
  const FileStat made = TRY(sys::stat_object(staged.entry.object()));
  if (made.uid != uid || made.gid != gid) {
    TRY(writer.change_owner(staged.entry.object(), uid, gid));
  }
  staged.made_mode = made.mode;
  return {};
}

Status Engine::copy_xattrs(const Plan& plan, sys::ObjectRef to) {
  const sys::ObjectRef from = plan.source;
  const bool no_privileges = policy_.no_privileges || plan.no_privileges;
  const std::string names = TRY(sys::list_xattrs(from));
  for (std::size_t at = 0; at < names.size(); at += std::strlen(&names[at]) + 1) {
    const char* name = &names[at];
    if (layer::classify_stored(name) == layer::NameClass::kPrivate ||
        (no_privileges && std::strcmp(name, kCapabilityXattr) == 0)) {
      continue;
    }
    const auto value = sys::get_xattr(from, name);
    if (!value) {
      if (may_drop(name, value.error(), policy_.privileges)) {
        continue;
      }
      return value.error();
    }
    if (!*value) {
      continue;  // removed between list and get
    }
    const Status written = workdir_.writer().set_xattr(to, name, **value, 0);
    if (!written && !may_drop(name, written.error(), policy_.privileges)) {
      return written;
    }
  }
  return {};
}

Status Engine::write_marks(const Plan& plan, sys::ObjectRef to) {
  // user.* xattrs exist on files and directories only (xattr(7)).
  const bool markable = plan.stat.is_regular() || plan.stat.is_directory() ||
                        policy_.marks == XattrNamespace::kTrusted;
  if (!policy_.marks || !markable) {
    return {};
  }
  layer::UpperWriter& writer = workdir_.writer();
  const auto key = [&](layer::Mark mark) { return layer::mark_name(*policy_.marks, mark); };
  if (plan.data == Plan::Data::kLeaveBelow) {
    TRY(writer.set_xattr(to, key(layer::Mark::kMetacopy), "", 0));
  }
  if (plan.origin) {
    TRY(writer.set_xattr(to, key(layer::Mark::kOrigin), *plan.origin, 0));
  }
  if (!plan.stat.is_directory() && plan.shown_ino != 0) {
    TRY(writer.set_xattr(to, key(layer::Mark::kPlyfsIno), std::to_string(plan.shown_ino), 0));
  }
  return {};
}

Status Engine::set_attributes(const Plan& plan, const Staged& staged, sys::ObjectRef to) {
  // Bits of creation survive a change of owner; suid and sgid, which do not, are never among them.
  const mode_t mode = policy_.no_privileges || plan.no_privileges
                          ? without_privileges(plan.stat.mode)
                          : plan.stat.mode;
  if (!plan.stat.is_symlink() && staged.made_mode != mode) {
    TRY(workdir_.writer().change_mode(to, mode & kPermissionMask));
  }
  return workdir_.writer().change_times(to, exactly(plan.stat.atime), exactly(plan.stat.mtime));
}

Status Engine::sync_staged(const Plan& plan, Staged& staged) {
  if (policy_.sync == SyncPolicy::kVolatile) {
    return {};
  }
  const bool has_data = plan.data == Plan::Data::kCopy && plan.data_bytes > 0;
  if (staged.file.valid() && (has_data || policy_.sync == SyncPolicy::kStrict)) {
    return workdir_.writer().sync(staged.file.borrow());
  }
  if (policy_.sync == SyncPolicy::kStrict && plan.stat.is_directory()) {
    return workdir_.writer().sync_directory(staged.entry.object());
  }
  return {};
}

Status Engine::complete(sys::ObjectRef upper, sys::BorrowedFd upper_file, sys::BorrowedFd data,
                        std::int64_t size_bytes, const FileStat& stat) {
  layer::UpperWriter& writer = workdir_.writer();
  // Writing drops security.capability; kernel overlayfs puts it back in the same way.
  const auto capability = TRY(sys::get_xattr(upper, kCapabilityXattr));
  if (size_bytes > 0) {
    TRY(copy_data(writer, data, upper_file, size_bytes, sync_follows()));
  }
  if (capability) {
    const Status restored = writer.set_xattr(upper, kCapabilityXattr, *capability, 0);
    if (!restored && !may_drop(kCapabilityXattr, restored.error(), policy_.privileges)) {
      return restored;
    }
  }
  if ((TRY(sys::stat_object(upper)).mode & kPermissionMask) != (stat.mode & kPermissionMask)) {
    TRY(writer.change_mode(upper, stat.mode & kPermissionMask));
  }
  TRY(writer.change_times(upper, exactly(stat.atime), exactly(stat.mtime)));
  if (policy_.sync != SyncPolicy::kVolatile) {
    TRY(writer.sync(upper_file));
  }
  for (const XattrNamespace space : {XattrNamespace::kTrusted, XattrNamespace::kUser}) {
    const Status removed =
        writer.remove_xattr(upper, layer::mark_name(space, layer::Mark::kMetacopy));
    if (!removed && removed.error() != ENODATA && removed.error() != EOPNOTSUPP &&
        space == policy_.marks) {
      return removed;
    }
  }
  return {};
}

}  // namespace plyfs::copyup
