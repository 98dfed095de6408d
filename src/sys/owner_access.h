// Reaching an object of our own whose mode shuts its owner out.
#pragma once

#include <sys/types.h>

#include "base/file_stat.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Whether the object belongs to the user that the daemon is.
bool is_own(const FileStat& stat);

/// While alive, the owner may read, write and (directories) search the object; then its mode is
/// what it was. For a daemon without CAP_DAC_OVERRIDE that serves its own user's files: 0444, 0000.
/// Only for objects of the upper layer. lifted() is false when the object is not ours or its mode
/// was no hindrance.
class OwnerAccess {
 public:
  explicit OwnerAccess(ObjectRef object);
  ~OwnerAccess();
  OwnerAccess(const OwnerAccess&) = delete;
  OwnerAccess& operator=(const OwnerAccess&) = delete;
  [[nodiscard]] bool lifted() const { return lifted_; }

 private:
  const ObjectRef object_;
  mode_t mode_ = 0;
  bool lifted_ = false;
};

/// Calls `attempt`; when it fails with EACCES, once more with OwnerAccess to `object`.
template <typename Attempt>
auto with_owner_access(ObjectRef object, Attempt attempt) -> decltype(attempt()) {
  auto result = attempt();
  if (result || result.error() != EACCES) [[likely]] {
    return result;
  }
  const OwnerAccess access{object};
  return access.lifted() ? attempt() : std::move(result);
}

}  // namespace plyfs::sys
