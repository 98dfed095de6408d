// The words on disk: every whiteout name and overlay xattr, in one table. The only file (with its
// .cpp) that spells them. Sources: kernel fs/overlayfs (xattrs), aufs(5), OCI image-spec layer.md.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "plyfs/options.h"

namespace plyfs::layer {

/// Private marks of the kernel's format, plus ours.
enum class Mark : unsigned char {
  kOpaque,
  kWhiteout,
  kRedirect,
  kMetacopy,
  kOrigin,
  kImpure,
  kNlink,
  kPlyfsIno,  ///< ours: the st_ino shown since before copy-up, decimal
};
inline constexpr std::size_t kMarkCount = 8;

/// Full xattr name, e.g. trusted.overlay.opaque. `space` must be kTrusted or kUser.
const char* mark_name(XattrNamespace space, Mark mark);

/// `.wh.`
inline constexpr std::string_view kAufsPrefix = ".wh.";
/// Marks the directory that holds it as opaque.
inline constexpr const char* kAufsOpaqueName = ".wh..wh..opq";
inline constexpr const char* kFuseOverlayfsOpaque = "user.fuseoverlayfs.opaque";

[[nodiscard]] inline bool is_aufs_name(std::string_view name) {
  return name.starts_with(kAufsPrefix);
}
/// `.wh..wh.opq`, `.wh..wh.plnk` and the like: hidden, and hiding nothing by name.
[[nodiscard]] inline bool is_aufs_internal(std::string_view name) {
  return name == kAufsPrefix || name.starts_with(".wh..wh.");
}
/// `.wh.NAME`; longer than NAME_MAX when NAME is.
std::string aufs_whiteout_name(std::string_view name);

/// How a user's xattr name maps to the disk. Overlay names that users set are stored escaped
/// (`trusted.overlay.overlay.X`), so they never act as marks; unescaped ones are invisible.
enum class NameClass : unsigned char { kPlain, kEscaped, kPrivate };
NameClass classify_stored(std::string_view stored);
/// Whether a stored name is a mark that an ordinary user can have written.
bool is_user_mark(std::string_view stored);
/// Name to store for a user's name.
std::string stored_name(std::string_view user_name);
/// Name to show for a kEscaped stored name.
std::string shown_name(std::string_view stored);

}  // namespace plyfs::layer
