// Extended attributes of objects; links are not followed. ENODATA is absence, every other error is
// kept: "cannot tell" is never "no".
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Raw form for users' requests: size 0 asks for the size; ERANGE, ENODATA as getxattr(2).
Result<std::size_t> get_xattr_raw(ObjectRef object, const char* name, void* value,
                                  std::size_t size_bytes);
/// nullopt when absent (ENODATA) or when the filesystem has no xattrs of that kind (EOPNOTSUPP).
Result<std::optional<std::string>> get_xattr(ObjectRef object, const char* name);
/// `flags`: 0, XATTR_CREATE or XATTR_REPLACE.
Status set_xattr(ObjectRef object, const char* name, std::string_view value, int flags);
/// ENODATA when absent.
Status remove_xattr(ObjectRef object, const char* name);
/// NUL-separated names; empty where xattrs are not supported.
Result<std::string> list_xattrs(ObjectRef object);

}  // namespace plyfs::sys
