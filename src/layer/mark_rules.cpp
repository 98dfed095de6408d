#include "layer/mark_rules.h"

#include "sys/creds.h"
#include "sys/path_check.h"

namespace plyfs::layer {
namespace {

constexpr uid_t kNobody = 65534;  // whom a user namespace does not know
constexpr mode_t kSticky = 01000;
constexpr mode_t kGroupWrite = 0020;
constexpr mode_t kOthersWrite = 0002;

}  // namespace

bool MarkRules::believes(const FileStat& marked) const {
  const bool own = marked.uid == mounter || marked.uid == 0 || (!all_ids && marked.uid != kNobody);
  // Of a sticky directory only the owner may write user.* xattrs.
  if (!own || (marked.is_directory() && (marked.mode & kSticky) != 0)) {
    return own;
  }
  // A group of the user's own has the user's number, by the custom of all distributions.
  const bool own_group = marked.gid == mounter || (!all_ids && marked.gid != kNobody);
  return (marked.mode & kOthersWrite) == 0 && ((marked.mode & kGroupWrite) == 0 || own_group);
}

MarkRules mark_rules(XattrNamespace asked) {
  const sys::Privileges privileges = sys::current_privileges();
  MarkRules rules;
  rules.all_ids = sys::in_initial_user_namespace();
  rules.privileged = rules.all_ids && (privileges.euid == 0 || privileges.sys_admin ||
                                       privileges.dac_override || privileges.dac_read_search);
  rules.user = !rules.privileged || asked == XattrNamespace::kUser;
  rules.mounter = privileges.euid;
  return rules;
}

bool is_closed_to_others(const std::string& path, const MarkRules& rules) {
  return sys::any_ancestor(path, [&](const FileStat& directory) {
    const mode_t others = directory.gid == rules.mounter ? 0001 : 0011;
    return (directory.uid == rules.mounter || directory.uid == 0) && (directory.mode & others) == 0;
  });
}

}  // namespace plyfs::layer
