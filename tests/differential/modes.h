// The kinds of run: who runs it, with which options both sides are mounted, what a case may use.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "generator.h"
#include "session.h"

namespace plyfs::difftest {

enum class Mode : std::uint8_t {
  kRoot,          ///< trusted xattrs; redirect, index and metacopy on
  kRootPlain,     ///< trusted xattrs; redirect, index and metacopy off
  kRootMetacopy,  ///< as kRoot, with metacopy in the kernel too, over a layer that it wrote
  kUser,          ///< an ordinary user's namespace, userxattr; redirect, index and metacopy off
};

std::optional<Mode> mode_named(const std::string& name);

/// What the machine and this process's namespaces allow.
struct Abilities {
  bool many_ids = true;  ///< more than one uid and gid exists here
  // Of the kernel's overlayfs:
  bool xattr_whiteouts = true;  ///< reads them
  bool tmpfile = true;          ///< knows O_TMPFILE
  bool users_acls = true;       ///< copies ACLs up in a user namespace
};

/// Asks the running system.
Abilities probe_abilities();

Limits limits_of(Mode mode, const Abilities& abilities);

struct Subject {
  std::string binary;   ///< empty: the kernel against itself
  std::string options;  ///< more -o words
};

/// `log` receives the subject's messages.
Drivers drivers_of(Mode mode, const Subject& subject, const std::string& log);

}  // namespace plyfs::difftest
