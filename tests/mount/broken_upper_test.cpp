// The filesystem of the upper fails at each of its operations in turn.
#include <cerrno>
#include <fstream>
#include <optional>

#include "filesystems.h"
#include "verbs.h"

namespace plyfs::tests {
namespace {

const char* const kOperations[] = {
    "stat",   "open",     "read",     "readdir", "listxattr", "getxattr", "readlink", "create",
    "write",  "truncate", "allocate", "sync",    "mkdir",     "mknod",    "symlink",  "link",
    "unlink", "rmdir",    "rename",   "chmod",   "chown",     "utimens",  "setxattr", "removexattr",
};

/// Every `operation` on the upper and the work directory fails with `error` from now on; 0: none.
void plan(const Stack& stack, const std::string& operation, int error) {
  std::ofstream rules{failing_rules(stack.upper_scratch())};
  if (error != 0) {
    rules << operation << " * " << error << "\n";
  }
}

Stack mounted(const System& system) {
  Stack stack = layers_of_verbs().on_filesystems(MountedFilesystem::quick_kind(), "failing");
  stack.mount(system);
  return stack;
}

/// Runs the verb with each operation failing. Returns how often the verb failed.
int fail_each(const System& system, const Verb& verb, const Trees& trees, int error,
              const std::string& name) {
  int failures = 0;
  std::optional<Stack> stack;
  for (const std::string operation : kOperations) {
    if (!stack) {
      stack.emplace(mounted(system));
    }
    plan(*stack, operation, error);
    const std::string result = verb.change(*stack);
    plan(*stack, operation, 0);
    stack->remount();
    CAPTURE(verb.name, operation, result);
    CHECK((result == "ok" || result == name));
    const Dump now = dump_without_times((*stack)());
    const std::string from_before = difference(trees.before, now);
    const std::string from_after = difference(trees.after, now);
    CAPTURE(from_before, from_after);
    CHECK((from_after.empty() || (from_before.empty() && result != "ok")));
    CHECK(stack->left_overs() == Picture{});
    failures += result == "ok" ? 0 : 1;
    if (!from_before.empty()) {
      stack.reset();
    }
  }
  return failures;
}

TEST_CASE("an error of any operation on the upper leaves the old or the new tree",
          "[broken][slow][root]") {
  on(plyfs_only(), [](const System& system) {
    if (const std::string lack = MountedFilesystem::missing("failing"); !lack.empty()) {
      return skip(lack);
    }
    int number = 0;
    for (const Verb& verb : verbs()) {
      const bool quota = ++number % 2 == 0;
      CAPTURE(verb.name);
      const Trees trees = undisturbed(system, verb);
      CHECK(fail_each(system, verb, trees, quota ? EDQUOT : EIO, quota ? "EDQUOT" : "EIO") > 0);
    }
  });
}

}  // namespace
}  // namespace plyfs::tests
