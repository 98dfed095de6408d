#include "rules.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace plyfs::difftest {
namespace {

struct Rule {
  std::string_view name;
  std::string_view reason;
  bool (*applies)(const Operation&, const OpResult& reference, const OpResult& subject);
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> kRules = {
      {"removed-file-change",
       "overlayfs fails with EEXIST to copy up a removed lower file of mode suid (Linux 6.18)",
       [](const Operation& op, const OpResult& reference, const OpResult& subject) {
         const bool changes = op.kind == OpKind::kFchmod || op.kind == OpKind::kFchown ||
                              op.kind == OpKind::kFutimens || op.kind == OpKind::kFsetxattr;
         return changes && reference.error == EEXIST && subject.error == 0;
       }},
      {"removed-file-xattr", "what is set on a removed lower file is not found there by overlayfs",
       [](const Operation& op, const OpResult& reference, const OpResult& subject) {
         return op.kind == OpKind::kFgetxattr && reference.error == ENODATA && subject.error == 0;
       }},
      {"removed-file-count",
       "a descriptor of a removed lower file keeps the count from before in overlayfs",
       [](const Operation& op, const OpResult& reference, const OpResult& subject) {
         std::string expected = reference.data;
         const auto at = expected.find(" n1 ");
         if (op.kind != OpKind::kFstat || at == std::string::npos) return false;
         return expected.replace(at, 4, " n0 ") == subject.data;
       }},
      {"acl-removal",
       "removing an ACL that is not there: 0 on an upper file, ENODATA on a lower one, and plyfs "
       "copies up later than overlayfs (at the first change, not at open)",
       [](const Operation& op, const OpResult& reference, const OpResult& subject) {
         const auto harmless = [](int error) { return error == 0 || error == ENODATA; };
         return op.kind == OpKind::kRemovexattr && op.xattr.starts_with("system.posix_acl_") &&
                harmless(reference.error) && harmless(subject.error);
       }},
  };
  return kRules;
}

}  // namespace

bool never_reaches_server(const Operation& op, const Side& reference, ZeroRange zero_range) {
  switch (op.kind) {
    case OpKind::kSeek: {
      // The kernel's FUSE client answers SEEK_DATA and SEEK_HOLE on directories itself.
      struct stat attributes {};
      return (op.flags == SEEK_DATA || op.flags == SEEK_HOLE) && reference.slot(op.slot) >= 0 &&
             ::fstat(reference.slot(op.slot), &attributes) == 0 && S_ISDIR(attributes.st_mode);
    }
    case OpKind::kChown:
    case OpKind::kFchown:
      // chown(-1, -1) still clears suid and sgid, but the client sends nothing.
      return op.uid == static_cast<uid_t>(-1) && op.gid == static_cast<gid_t>(-1);
    case OpKind::kFstat:
      // Of an O_PATH descriptor overlayfs reports the count before the unlink.
      return reference.slot(op.slot) >= 0 &&
             (::fcntl(reference.slot(op.slot), F_GETFL) & O_PATH) != 0;
    case OpKind::kFallocate:
      // The client moves mtime before it asks, also when the answer is EOPNOTSUPP.
      return zero_range == ZeroRange::kUnsupported && (op.flags & FALLOC_FL_ZERO_RANGE) != 0;
    default:
      return false;
  }
}

bool breaks_reference(const Operation& op, const Side& reference) {
  // removed-object-change: changing a removed lower directory or special file through a descriptor
  // makes overlayfs copy it up by its old name, in the place of what has that name now
  // (Linux 6.18).
  const bool changes = op.kind == OpKind::kFchmod || op.kind == OpKind::kFchown ||
                       op.kind == OpKind::kFutimens || op.kind == OpKind::kFsetxattr;
  if (!changes || reference.slot(op.slot) < 0) return false;
  struct stat attributes {};
  if (::fstat(reference.slot(op.slot), &attributes) != 0 || S_ISREG(attributes.st_mode)) {
    return false;
  }
  // The link count of a removed directory does not tell: overlayfs reports 1 for merged ones.
  std::array<char, 4096> name{};
  const std::string slot = std::to_string(reference.slot(op.slot));
  const ssize_t length =
      ::readlinkat(reference.host().own_descriptors(), slot.c_str(), name.data(), name.size());
  constexpr std::string_view kMark = " (deleted)";
  const std::string_view target{name.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
  return target.size() > kMark.size() && target.substr(target.size() - kMark.size()) == kMark;
}

bool refuses_empty_directory(const Operation& op, const OpResult& result, const Side& reference) {
  // xattr-whiteout-content: overlayfs (Linux 6.18) does not list the xattr whiteouts in a merged
  // directory, but counts them as its content.
  const bool removes = op.kind == OpKind::kRmdir || op.kind == OpKind::kRename;
  if (!removes || result.error != ENOTEMPTY || reference.enter(op.at) != 0) return false;
  const std::string& path = op.kind == OpKind::kRename ? op.other : op.path;
  std::error_code error;
  return std::filesystem::is_empty(path, error) && !error;
}

bool excused(const Operation& op, const OpResult& reference, const OpResult& subject) {
  for (const Rule& rule : rules()) {
    if (rule.applies(op, reference, subject)) return true;
  }
  return false;
}

}  // namespace plyfs::difftest
