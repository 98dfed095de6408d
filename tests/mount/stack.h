// A stack of layers, drawn by the test, mounted as a system shows it.
//
//   Stack stack = Stack{}.lower({file("a/x", "1"), whiteout("w")}).lower({file("w")}).upper();
//   stack.mount(system);
//   CHECK(picture(stack()) == Picture{"a/", "a/x=1"});
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "call.h"
#include "process.h"
#include "system.h"
#include "tree.h"

namespace plyfs::tests {

/// Lives in a directory of its own. The end of its life unmounts, kills what is left of a daemon,
/// checks that the lower layers are as they were drawn, and removes everything.
class Stack {
 public:
  Stack();
  ~Stack();
  Stack(Stack&&) noexcept;
  Stack& operator=(Stack&&) = delete;
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  /// Adds a read-only layer below the ones before.
  Stack lower(Items items) &&;
  Stack lowers(const std::vector<Items>& layers) &&;
  /// Gives the stack a writable layer. Without one the mount is read-only.
  Stack upper(Items items = {}) &&;
  /// Every layer on a filesystem of its own: `lower` for the lower ones, `upper`, of kinds that
  /// MountedFilesystem knows. Root only.
  Stack on_filesystems(std::string lower, std::string upper) &&;
  /// The next mounts of plyfs get these variables.
  void set_environment(Environment environment);

  /// Builds the layers at the first call, then mounts. Throws when that fails.
  void mount(const System& system, const std::string& more_options = {});
  /// Unmounts; the daemon must end by itself with exit code 0 (checked).
  void unmount();
  /// unmount() and mount() as before. Nothing to do on a plain directory.
  void remount();
  /// kill -9 of the daemon, then clears the mount point away.
  void crash();
  /// Like crash(), for a daemon that ended (or is ending) by itself. Returns its exit code.
  int await_death();

  /// A path inside the mounted tree; its root without argument.
  std::string operator()(const std::string& path = {}) const;
  [[nodiscard]] std::string upper_path(const std::string& path = {}) const;
  [[nodiscard]] std::string work_path(const std::string& path = {}) const;
  [[nodiscard]] std::string lower_path(std::size_t layer, const std::string& path = {}) const;
  /// on_filesystems(): what the upper's filesystem was given as scratch.
  [[nodiscard]] std::string upper_scratch() const;
  [[nodiscard]] std::string mountpoint() const;  ///< as given to mount
  [[nodiscard]] std::string directory() const;   ///< private to this stack

  [[nodiscard]] Picture upper_picture() const;
  /// What lies in the work directory although no operation is under way.
  [[nodiscard]] Picture left_overs() const;
  /// Builds the layers without mounting.
  void build(const System& system);
  /// The layer options ("lowerdir=...,upperdir=...,workdir=...").
  [[nodiscard]] std::string layer_options() const;
  [[nodiscard]] pid_t daemon() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// By umount2(2), or as a user by fusermount3: "ok", or what it said. Does not wait for the daemon.
std::string unmount_fuse(const std::string& mountpoint, bool lazy);

}  // namespace plyfs::tests
