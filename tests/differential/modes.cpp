#include "modes.h"

#include <fstream>

#include "kernel_version.h"

namespace plyfs::difftest {
namespace {

struct Options {
  const char* reference;
  const char* subject;
  const char* reader;
};

Options options_of(Mode mode) {
  switch (mode) {
    case Mode::kRoot:
      return {"redirect_dir=on,index=on,metacopy=off", "redirect_dir=on,index=on,metacopy=on",
              "redirect_dir=on,index=on,metacopy=on"};
    case Mode::kRootPlain:
      return {"redirect_dir=off,index=off,metacopy=off", "redirect_dir=off,index=off,metacopy=off",
              "redirect_dir=off,index=off,metacopy=off"};
    case Mode::kRootMetacopy:
      return {"redirect_dir=on,index=on,metacopy=on", "redirect_dir=on,index=on,metacopy=on",
              "redirect_dir=on,index=on,metacopy=on"};
    case Mode::kUser:
      // The kernel refuses redirect and metacopy with userxattr, and index needs privileges that
      // a user namespace does not give.
      return {"userxattr", "userxattr,redirect_dir=off,index=off,metacopy=off", "userxattr"};
  }
  return {"", "", ""};
}

/// The number of ids in a map of this process's user namespace.
std::uint64_t mapped_ids(const char* map) {
  std::ifstream lines{map};
  std::uint64_t total = 0;
  for (std::uint64_t inside = 0, outside = 0, count = 0; lines >> inside >> outside >> count;) {
    total += count;
  }
  return total;
}

}  // namespace

std::optional<Mode> mode_named(const std::string& name) {
  if (name == "root") return Mode::kRoot;
  if (name == "root-plain") return Mode::kRootPlain;
  if (name == "root-metacopy") return Mode::kRootMetacopy;
  if (name == "user") return Mode::kUser;
  return std::nullopt;
}

Abilities probe_abilities() {
  Abilities abilities;
  abilities.many_ids =
      mapped_ids("/proc/self/uid_map") > 2000 && mapped_ids("/proc/self/gid_map") > 2000;
  abilities.xattr_whiteouts = tests::overlayfs_reads_xattr_whiteouts();
  abilities.tmpfile = tests::overlayfs_has_tmpfile();
  abilities.users_acls = tests::overlayfs_copies_users_acls();
  return abilities;
}

Limits limits_of(Mode mode, const Abilities& abilities) {
  Limits limits;
  limits.layers.trusted_xattrs = mode != Mode::kUser;
  limits.layers.devices = mode != Mode::kUser;
  limits.layers.owners = abilities.many_ids;
  limits.layers.xattr_whiteouts = abilities.xattr_whiteouts;
  limits.layers.acls = mode != Mode::kUser || abilities.users_acls;
  limits.tmpfile = abilities.tmpfile;
  // Without an index, overlayfs breaks a lower hard link at copy-up; what is right then is
  // nobody's promise.
  limits.layers.hard_links = mode == Mode::kRoot || mode == Mode::kRootMetacopy;
  limits.prelude = mode == Mode::kRootMetacopy;
  limits.ordinary_actor = abilities.many_ids;
  return limits;
}

Drivers drivers_of(Mode mode, const Subject& subject, const std::string& log) {
  const Options options = options_of(mode);
  Drivers drivers;
  drivers.reference_links = mode == Mode::kUser ? HardLinks::kIgnored : HardLinks::kSame;
  drivers.reference = kernel_driver(options.reference);
  drivers.reader = kernel_driver(options.reader);
  drivers.writer = kernel_driver("redirect_dir=on,index=off,metacopy=on");
  if (subject.binary.empty()) {
    drivers.subject = kernel_driver(options.reference);
    drivers.promise = InodeNumbers::kIgnored;
    return drivers;
  }
  if (mode == Mode::kUser) drivers.promise = InodeNumbers::kSameWhereMarked;
  const std::string more = subject.options.empty() ? "" : "," + subject.options;
  drivers.subject = plyfs_driver(subject.binary, options.subject + more, log);
  return drivers;
}

}  // namespace plyfs::difftest
