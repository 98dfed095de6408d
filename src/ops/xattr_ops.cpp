// Extended attributes as users see them: overlay marks are invisible, and names that would act as
// marks are stored escaped (kernel overlayfs, "Nesting overlayfs mounts").
#include <cstring>

#include "base/xattr_names.h"
#include "layer/format.h"
#include "ops/filesystem.h"
#include "sys/creds.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"

namespace plyfs::ops {

using node::Node;

namespace {

constexpr const char* kAclPrefix = "system.posix_acl_";
constexpr const char* kAccessAcl = "system.posix_acl_access";
constexpr const char* kTrustedPrefix = "trusted.";

}  // namespace

Result<std::size_t> FileSystem::getxattr(Node& node, const char* name, void* value,
                                         std::size_t size_bytes) {
  if (!f_.xattrs) {
    return Errno{EOPNOTSUPP};
  }
  const bool capability = std::strcmp(name, kCapabilityXattr) == 0;
  if (capability && drops_privileges(node.in_upper() ? layer::kUpper : node.layer())) {
    return Errno{ENODATA};
  }
  // The kernel asks before the first write into each file.
  if (node.lacks_capability.load() && capability) {
    return Errno{ENODATA};
  }
  const std::string stored = layer::stored_name(name);
  Located located{*this};
  const sys::ObjectRef object = TRY(located.find(node));
  return sys::get_xattr_raw(object, stored.c_str(), value, size_bytes);
}

Result<std::string> FileSystem::listxattr(const RequestContext& context, Node& node) {
  if (!f_.xattrs) {
    return Errno{EOPNOTSUPP};
  }
  Located located{*this};
  const sys::ObjectRef object = TRY(located.find(node));
  const std::string stored = TRY(sys::list_xattrs(object));
  const bool drops = drops_privileges(node.in_upper() ? layer::kUpper : node.layer());
  std::string shown;
  for (std::size_t at = 0; at < stored.size(); at += std::strlen(&stored[at]) + 1) {
    const std::string_view name{&stored[at]};
    if (context.uid != 0 && name.starts_with(kTrustedPrefix)) {
      continue;
    }
    if (drops && name == kCapabilityXattr) {
      continue;
    }
    switch (layer::classify_stored(name)) {
      case layer::NameClass::kPlain:
        shown.append(name).push_back('\0');
        break;
      case layer::NameClass::kEscaped:
        shown.append(layer::shown_name(name)).push_back('\0');
        break;
      case layer::NameClass::kPrivate:
        break;
    }
  }
  return shown;
}

Status FileSystem::setxattr(const RequestContext& context, Node& node, const char* name,
                            std::string_view value, int flags) {
  TRY(writable());
  if (!f_.xattrs) {
    return Errno{EOPNOTSUPP};
  }
  if (f_.no_privileges && std::strcmp(name, kCapabilityXattr) == 0) {
    return Errno{EPERM};
  }
  const std::string stored = layer::stored_name(name);
  if (stored.size() > 255) {
    return Errno{EOPNOTSUPP};
  }
  // An ACL may let others write, and mark what has no data of its own (layer/mark_rules.h).
  const bool shares = stored == kAccessAcl && f_.engine->policy().marks == XattrNamespace::kUser &&
                      !f_.stack[layer::kUpper].closed;
  TRY(ensure_upper(node, shares ? Want::kData : Want::kMetadata));
  node.lacks_capability.store(false);
  Located located{*this};
  const sys::ObjectRef object = TRY(located.find(node));
  std::optional<mode_t> had;
  if (stored == kAccessAcl) {
    // As chmod(2) has it (Linux: posix_acl_update_mode). Before: the new ACL must not be seen with
    // the bit.
    const FileStat stat = TRY(sys::stat_object(object));
    if ((stat.mode & kSetGid) != 0 && context.outside_of_group) {
      had = stat.mode & kPermissionMask;
      TRY(f_.writer->change_mode(object, *had & ~kSetGid));
    }
  }
  const Status set = f_.writer->set_xattr(object, stored.c_str(), value, flags);
  if (!set && had) {
    if (const Status back = f_.writer->change_mode(object, *had); !back) {
      layer::log_clean_up("putting back the mode of " + describe(node), back.error());
    }
  }
  return set;
}

Status FileSystem::removexattr(Node& node, const char* name) {
  TRY(writable());
  if (!f_.xattrs) {
    return Errno{EOPNOTSUPP};
  }
  const std::string stored = layer::stored_name(name);
  {
    // Nothing is copied up for the removal of what is not there.
    Located located{*this};
    const sys::ObjectRef object = TRY(located.find(node));
    const auto present = sys::get_xattr_raw(object, stored.c_str(), nullptr, 0);
    if (!present && present.error() == ENODATA && node.in_upper() &&
        stored.starts_with(kAclPrefix)) {
      return {};  // the VFS removes an ACL that is not there (kernel overlayfs: in the upper only)
    }
    (void)TRY(Result<std::size_t>{present});
  }
  TRY(ensure_upper(node, Want::kMetadata));
  Located located{*this};
  const sys::ObjectRef object = TRY(located.find(node));
  return f_.writer->remove_xattr(object, stored.c_str());
}

}  // namespace plyfs::ops
