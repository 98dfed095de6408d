#include "sys/creds.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

namespace plyfs::sys {
namespace {

thread_local bool fs_detached = false;
thread_local mode_t current_umask = ~mode_t{0};

// setfsuid reports the previous id, also on failure: ask again with an invalid one.
uid_t fs_uid() { return static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))); }
gid_t fs_gid() { return static_cast<gid_t>(::setfsgid(static_cast<gid_t>(-1))); }

/// setfsuid(2) to an ordinary user takes CAP_DAC_OVERRIDE and CAP_FSETID away. Permissions were
/// checked by the kernel already, with the caller's supplementary groups, which we do not have:
/// what is wanted from the new id is the owner of the object, no second opinion.
void keep_override() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) {
    return;
  }
  constexpr unsigned kWanted =
      (1U << CAP_DAC_OVERRIDE) | (1U << CAP_DAC_READ_SEARCH) | (1U << CAP_FSETID);
  data[0].effective |= data[0].permitted & kWanted;
  (void)::syscall(SYS_capset, &header, data);
}

/// Of the calling thread: returns whether it was effective before.
bool set_fsetid(bool effective) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  constexpr unsigned kBit = 1U << CAP_FSETID;
  if (::syscall(SYS_capget, &header, data) != 0) {
    return false;
  }
  const bool was = (data[0].effective & kBit) != 0;
  if (was != effective) {
    data[0].effective ^= kBit;
    (void)::syscall(SYS_capset, &header, data);
  }
  return was;
}

}  // namespace

void detach_thread_fs() {
  if (!fs_detached && ::unshare(CLONE_FS) == 0) {
    fs_detached = true;
  }
}

void set_thread_umask(mode_t mask) {
  if (current_umask != mask) {
    (void)::umask(mask);
    current_umask = mask;
  }
}

ScopedOwner::ScopedOwner(uid_t uid, gid_t gid) {
  // The process never changes them once it serves.
  static thread_local const uid_t own_uid = ::geteuid();
  static thread_local const gid_t own_gid = ::getegid();
  // The group first: once the user id is not root's, CAP_SETGID is still there, but keep the
  // order of setgid(2)/setuid(2).
  if (gid != own_gid) {
    (void)::setfsgid(gid);
    changed_gid_ = true;
    group_granted_ = fs_gid() == gid;
  }
  if (uid != own_uid) {
    (void)::setfsuid(uid);
    changed_uid_ = true;
    granted_ = fs_uid() == uid;
    keep_override();
  }
}

ScopedOwner::~ScopedOwner() {
  if (changed_uid_) {
    (void)::setfsuid(::geteuid());
  }
  if (changed_gid_) {
    (void)::setfsgid(::getegid());
  }
}

ScopedWithoutFsetid::ScopedWithoutFsetid() : had_(set_fsetid(false)) {}

ScopedWithoutFsetid::~ScopedWithoutFsetid() {
  if (had_) {
    (void)set_fsetid(true);
  }
}

namespace {

/// Supplementary groups are not known: only the caller's /proc tells them, and who answers requests
/// waits for no caller (N-31).
bool is_in_group(const RequestContext& caller, gid_t group) {
  return caller.uid == 0 || caller.gid == group;
}

}  // namespace

std::optional<mode_t> mode_to_leave(const RequestContext& caller, const FileStat& stat,
                                    gid_t group) {
  const mode_t before = stat.mode & kPermissionMask;
  mode_t kept = before & ~kSetUid;
  if ((before & kSetGid) != 0 && ((before & kGroupExecute) != 0 || !is_in_group(caller, group))) {
    kept &= ~kSetGid;
  }
  return stat.is_regular() && kept != before ? std::optional{kept} : std::nullopt;
}

Privileges current_privileges() {
  Privileges privileges;
  privileges.euid = ::geteuid();
  privileges.egid = ::getegid();
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) == 0) {
    const auto has = [&](unsigned capability) {
      return (data[capability / 32].effective & (1U << (capability % 32))) != 0;
    };
    privileges.chown = has(CAP_CHOWN);
    privileges.setfcap = has(CAP_SETFCAP);
    privileges.sys_admin = has(CAP_SYS_ADMIN);
    privileges.dac_override = has(CAP_DAC_OVERRIDE);
    privileges.dac_read_search = has(CAP_DAC_READ_SEARCH);
  }
  return privileges;
}

bool in_initial_user_namespace() {
  std::ifstream map{"/proc/self/uid_map"};
  std::uint64_t inside = 1;
  std::uint64_t outside = 1;
  std::uint64_t count = 0;
  map >> inside >> outside >> count;
  return inside == 0 && outside == 0 && count == UINT32_MAX;
}

}  // namespace plyfs::sys
