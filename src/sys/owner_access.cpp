#include "sys/owner_access.h"

#include <unistd.h>

#include "sys/object_stat.h"

namespace plyfs::sys {

bool is_own(const FileStat& stat) { return stat.uid == ::geteuid(); }

OwnerAccess::OwnerAccess(ObjectRef object) : object_(object) {
  const auto stat = stat_object(object);
  if (!stat || !is_own(*stat) || stat->is_symlink()) {
    return;
  }
  mode_ = stat->mode & kPermissionMask;
  const mode_t wanted = mode_ | (stat->is_directory() ? 0700U : 0600U);
  lifted_ = wanted != mode_ && change_mode(object, wanted).has_value();
}

OwnerAccess::~OwnerAccess() {
  if (lifted_) {
    (void)change_mode(object_, mode_);  // the owner may always do this
  }
}

}  // namespace plyfs::sys
