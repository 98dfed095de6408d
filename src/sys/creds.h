// Acting as the caller of a request, one thread at a time.
#pragma once

#include <sys/types.h>

#include <optional>

#include "base/file_stat.h"
#include "base/request.h"

namespace plyfs::sys {

/// Gives the calling thread its own umask and working directory (unshare(CLONE_FS)), so that a
/// request's umask can be applied by the kernel where default ACLs must win. Idempotent.
void detach_thread_fs();

/// Sets the thread's umask; a no-op when it is set already. Needs detach_thread_fs().
void set_thread_umask(mode_t mask);

/// While alive, new objects belong to uid:gid (setfsuid/setfsgid). Does nothing where the ids are
/// the thread's own already. Locks: none; never held over a reply.
class ScopedOwner {
 public:
  ScopedOwner(uid_t uid, gid_t gid);
  ~ScopedOwner();
  ScopedOwner(const ScopedOwner&) = delete;
  ScopedOwner& operator=(const ScopedOwner&) = delete;
  /// False when the system refused: the object would get the daemon's ids.
  [[nodiscard]] bool granted() const { return granted_; }
  [[nodiscard]] bool group_granted() const { return group_granted_; }

 private:
  bool changed_uid_ = false;
  bool changed_gid_ = false;
  bool granted_ = true;
  bool group_granted_ = true;
};

/// While alive, the calling thread acts without CAP_FSETID: its writes take suid and sgid bits
/// away.
class ScopedWithoutFsetid {
 public:
  ScopedWithoutFsetid();
  ~ScopedWithoutFsetid();
  ScopedWithoutFsetid(const ScopedWithoutFsetid&) = delete;
  ScopedWithoutFsetid& operator=(const ScopedWithoutFsetid&) = delete;

 private:
  bool had_ = false;
};

/// The mode that is left after a write, chown or truncate by a caller without CAP_FSETID (Linux:
/// setattr_should_drop_suidgid). suid goes always; sgid goes where the group may execute, and where
/// the caller is not in the group, which users see as `group`. No value where nothing is
/// taken.
std::optional<mode_t> mode_to_leave(const RequestContext& caller, const FileStat& stat,
                                    gid_t group);

/// What this process may do, asked once at mount time.
struct Privileges {
  uid_t euid = 0;
  gid_t egid = 0;
  bool chown = false;         ///< CAP_CHOWN: owners can be preserved
  bool setfcap = false;       ///< CAP_SETFCAP: security.capability can be written
  bool sys_admin = false;     ///< CAP_SYS_ADMIN in this user namespace
  bool dac_override = false;  ///< CAP_DAC_OVERRIDE
  bool dac_read_search = false;
};
Privileges current_privileges();

/// Whether this user namespace is the machine's first: user_namespaces(7), only there every id is
/// mapped, to itself.
bool in_initial_user_namespace();

}  // namespace plyfs::sys
