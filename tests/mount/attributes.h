// The bytes of the xattrs that the kernel itself understands.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plyfs::tests {

struct AclEntry {
  enum class Tag : std::uint16_t {
    kOwner = 0x01,
    kUser = 0x02,
    kOwningGroup = 0x04,
    kGroup = 0x08,
    kMask = 0x10,
    kOther = 0x20,
  };
  Tag tag;
  std::uint16_t permissions;
  std::uint32_t id = 0xffffffffU;
};

constexpr const char* kAccessAcl = "system.posix_acl_access";
constexpr const char* kDefaultAcl = "system.posix_acl_default";
constexpr const char* kCapability = "security.capability";

/// The value of a system.posix_acl_* xattr.
std::string acl(const std::vector<AclEntry>& entries);
/// u::OWNER,u:USER:PERMISSIONS,g::GROUP,m::MASK,o::OTHER
std::string acl_for_user(std::uint16_t owner, std::uint32_t user, std::uint16_t permissions,
                         std::uint16_t group, std::uint16_t mask, std::uint16_t other);
/// "u::7,u:5:6,g::5,m::7,o::0"
std::string acl_text(const std::string& value);

/// A security.capability value: cap_net_raw=ep.
std::string file_capability();

/// Whether the workspace's filesystem keeps POSIX ACLs.
bool acls_work(const std::string& directory);

}  // namespace plyfs::tests
