#include "layer/format.h"

namespace plyfs::layer {
namespace {

constexpr std::string_view kTrustedPrefix = "trusted.overlay.";
constexpr std::string_view kUserPrefix = "user.overlay.";
constexpr std::string_view kFuseOverlayfsPrefix = "user.fuseoverlayfs.";
constexpr std::string_view kEscape = "overlay.";

constexpr std::array<const char*, kMarkCount> kTrustedMarks = {
    "trusted.overlay.opaque",   "trusted.overlay.whiteout", "trusted.overlay.redirect",
    "trusted.overlay.metacopy", "trusted.overlay.origin",   "trusted.overlay.impure",
    "trusted.overlay.nlink",    "trusted.overlay.plyfs.ino"};
constexpr std::array<const char*, kMarkCount> kUserMarks = {
    "user.overlay.opaque",   "user.overlay.whiteout", "user.overlay.redirect",
    "user.overlay.metacopy", "user.overlay.origin",   "user.overlay.impure",
    "user.overlay.nlink",    "user.overlay.plyfs.ino"};

std::string_view overlay_prefix_of(std::string_view name) {
  if (name.starts_with(kTrustedPrefix)) {
    return kTrustedPrefix;
  }
  if (name.starts_with(kUserPrefix)) {
    return kUserPrefix;
  }
  if (name.starts_with(kFuseOverlayfsPrefix)) {
    return kFuseOverlayfsPrefix;
  }
  return {};
}

}  // namespace

const char* mark_name(XattrNamespace space, Mark mark) {
  const auto& table = space == XattrNamespace::kTrusted ? kTrustedMarks : kUserMarks;
  return table[static_cast<std::size_t>(mark)];
}

std::string aufs_whiteout_name(std::string_view name) {
  std::string whiteout{kAufsPrefix};
  whiteout += name;
  return whiteout;
}

NameClass classify_stored(std::string_view stored) {
  const std::string_view prefix = overlay_prefix_of(stored);
  if (prefix.empty()) {
    return NameClass::kPlain;
  }
  return stored.substr(prefix.size()).starts_with(kEscape) ? NameClass::kEscaped
                                                           : NameClass::kPrivate;
}

bool is_user_mark(std::string_view stored) {
  return !stored.starts_with("trusted.") && classify_stored(stored) == NameClass::kPrivate;
}

std::string stored_name(std::string_view user_name) {
  std::string stored{user_name};
  const std::string_view prefix = overlay_prefix_of(user_name);
  if (!prefix.empty()) {
    stored.insert(prefix.size(), kEscape);
  }
  return stored;
}

std::string shown_name(std::string_view stored) {
  std::string shown{stored};
  shown.erase(overlay_prefix_of(stored).size(), kEscape.size());
  return shown;
}

}  // namespace plyfs::layer
