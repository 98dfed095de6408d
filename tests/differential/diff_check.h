// `plyfs diff` against docker's rules, written down a second time.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "compare.h"
#include "tree_dump.h"

namespace plyfs::difftest {

/// Letters A, C, D by path, without the root.
using Changes = std::map<std::string, char>;

/// What docker diff says of two trees (moby, pkg/archive/changes.go, ChangesDirs): an entry is
/// changed by its type, mode, owner and device, and, if it is no directory, by its size and mtime;
/// here also by content and xattrs. What was in a directory that now is none is not listed. Each
/// directory above a change is changed.
Changes docker_changes(const TreeDump& before, const TreeDump& now);

/// `printed` is the output of diff --json.
std::optional<Difference> compare_changes(const Changes& expected, const std::string& printed);

}  // namespace plyfs::difftest
