// Changes of a tree, each in one call, for tests that disturb them: the tree must then be as before
// or as after.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "stack.h"

namespace plyfs::tests {

/// A change of the tree in one call, as seen through the mount.
struct Verb {
  const char* name;
  std::string (*change)(const Stack& stack);
};

const std::vector<Verb>& verbs();

/// The layers of every verb: files in all rooms, merged and moved directories.
Stack layers_of_verbs();

/// Opens `path` for reading and writing with `flags`, writes at offset 3, and waits for the disk.
/// The first outcome that is not "ok".
std::string write_and_sync(const std::string& path, std::string_view data, int flags);

/// The tree that a verb changes, without times, and its outcome when nothing disturbs it.
struct Trees {
  std::string outcome;
  Dump before;
  Dump after;
};

/// Checks that the outcome is "ok" (EXDEV where directories are not redirected).
Trees undisturbed(const System& system, const Verb& verb);

}  // namespace plyfs::tests
