// Names of extended attributes that the kernel gives a meaning.
#pragma once

namespace plyfs {

/// Capabilities of an executable: capabilities(7). Writing to the file takes them away.
inline constexpr const char* kCapabilityXattr = "security.capability";

}  // namespace plyfs
