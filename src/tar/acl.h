// POSIX ACLs between Linux's xattrs and tar's SCHILY.acl.* words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tar/handles.h"

namespace plyfs::tar {

inline constexpr const char* kAccessAcl = "system.posix_acl_access";
inline constexpr const char* kDefaultAcl = "system.posix_acl_default";

/// Puts the ACL of an xattr's value (as in linux/posix_acl_xattr.h) into the entry, whose mode must
/// be set. `type` is ARCHIVE_ENTRY_ACL_TYPE_ACCESS or _DEFAULT. EINVAL for what is no ACL.
Status put_acl(archive_entry* entry, int type, std::string_view value);

/// The ids of names, as this machine knows them: GNU tar writes no numbers into ACLs.
class Ids {
 public:
  Ids();
  /// -1 for a name that nobody has here.
  std::int64_t user(const char* name);
  std::int64_t group(const char* name);

 private:
  Writer lookup_;
};

/// The xattr's value of an entry's ACL; empty where it has none beyond its mode. ENOENT when it
/// names somebody whom this machine does not know.
Result<std::string> take_acl(archive_entry* entry, int type, Ids& ids);

}  // namespace plyfs::tar
