// Making a copy of a lower object in the work directory, complete in every attribute. What makes
// it visible is the caller's one rename (StagedEntry::publish).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/file_stat.h"
#include "copyup/data_copy.h"
#include "layer/workdir.h"
#include "plyfs/options.h"
#include "plyfs/result.h"
#include "sys/creds.h"
#include "sys/unique_fd.h"

namespace plyfs::copyup {

/// Const for the life of a mount.
struct Policy {
  SyncPolicy sync = SyncPolicy::kAuto;
  std::optional<XattrNamespace> marks;  ///< nullopt: no private xattrs can be written
  bool keep_uid = true;                 ///< false when squashed: the copy belongs to the daemon
  bool keep_gid = true;
  bool no_privileges = false;  ///< suid, sgid and capabilities are left out
  sys::Privileges privileges;
};

/// What to copy. `source` and `stat` are those of one object in one layer.
struct Plan {
  sys::ObjectRef source;
  sys::ObjectRef data_source;  ///< regular files: elsewhere when the source has metadata only
  bool data_is_open = false;   ///< data_source is a descriptor to read from
  FileStat stat;
  enum class Data : std::uint8_t { kCopy, kLeaveBelow } data = Data::kCopy;
  bool no_privileges = false;   ///< as Policy says of all: of this source
  std::int64_t data_bytes = 0;  ///< with kCopy: how much of a regular file is wanted
  std::uint64_t shown_ino = 0;  ///< 0: the copy gets a number of its own
  std::optional<std::string> origin;
};

struct Staged {
  layer::StagedEntry entry;
  sys::UniqueFd file;    ///< regular files: open for reading and writing
  mode_t made_mode = 0;  ///< as created, with the type
};

/// Thread-safe.
class Engine {
 public:
  Engine(layer::Workdir& workdir, Policy policy) : workdir_(workdir), policy_(policy) {}

  /// Locks: none needed; may take long (data). Errors: EPERM where the owner cannot be kept,
  /// ENOSPC, EDQUOT, EIO...; nothing is left behind. Order as kernel overlayfs: data, owner,
  /// xattrs (writing data or chown would drop security.capability), mode, times.
  Result<Staged> stage(const Plan& plan);

  /// Fills a metadata-only copy in place with the data below and removes its metacopy mark. A
  /// crash leaves the mark, so the half-written data is never looked at.
  Status complete(sys::ObjectRef upper, sys::BorrowedFd upper_file, sys::BorrowedFd data,
                  std::int64_t size_bytes, const FileStat& stat);

  [[nodiscard]] const Policy& policy() const { return policy_; }

 private:
  Status make(const Plan& plan, Staged& staged);
  Status copy_xattrs(const Plan& plan, sys::ObjectRef to);
  Status write_marks(const Plan& plan, sys::ObjectRef to);
  Status set_attributes(const Plan& plan, const Staged& staged, sys::ObjectRef to);
  Status sync_staged(const Plan& plan, Staged& staged);
  [[nodiscard]] SyncFollows sync_follows() const {
    return policy_.sync == SyncPolicy::kVolatile ? SyncFollows::kNo : SyncFollows::kYes;
  }

  layer::Workdir& workdir_;
  const Policy policy_;
};

}  // namespace plyfs::copyup
