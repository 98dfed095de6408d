// plyfs-dump of the subject's stack, at rest, against what its mount has shown of it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compare.h"
#include "tree_dump.h"

namespace plyfs::difftest {

/// Every path that the mount showed is found, no other is, and what is seen has the attributes and
/// the content that the mount showed. Every version, seen or hidden, is what lies in its layer.
/// `which` says of a path what the snapshot says. `verify` finds no error. `live`, unless empty,
/// is what the snapshot said while it was mounted: the same. `command` is the program
/// with its stack; `directory` is for scratch files.
std::optional<Difference> check_dump(const std::vector<std::string>& command, const TreeDump& shown,
                                     const std::string& directory, const std::string& live);

}  // namespace plyfs::difftest
