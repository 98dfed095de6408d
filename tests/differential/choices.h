// How the generator picks paths, slots and values, and the makers of each family of operations.
#pragma once

#include <string>
#include <vector>

#include "generator.h"
#include "path_model.h"

namespace plyfs::difftest {

/// The state of a sequence in the making. Guarded by caller.
struct Choices {
  Random& random;
  const Limits& limits;
  PathModel model;
  std::array<PathKind, kSlots> slot_kinds{};
  std::array<bool, kSlots> slot_used{};
  std::array<bool, kSlots> slot_writable{};

  Choices(Random& its_random, const Limits& its_limits, PathModel its_model)
      : random(its_random), limits(its_limits), model(std::move(its_model)) {}

  std::string any_path();        ///< mostly something that exists
  std::string file_path();       ///< mostly a file that exists
  std::string directory_path();  ///< mostly a directory that exists, not the root
  std::string new_path();        ///< a name in an existing directory; mostly not taken
  std::string of_kind(PathKind kind);
  [[nodiscard]] bool is(const std::string& path, PathKind kind) const;
  /// Now and then a path with a trailing slash, through a file, too long, empty, ...
  std::string twisted(std::string path);

  int any_slot();
  int file_slot();
  int writable_slot();
  mode_t mode();
  off_t offset();
  std::size_t length();
  std::uint64_t data_seed() { return random.next() % 1000000; }
  timespec time();
  uid_t owner();
  std::string xattr_name();
  std::string xattr_value(const std::string& name);
};

Operation make_open(Choices& choices);
Operation make_whole_read(Choices& choices);
Operation make_whole_write(Choices& choices);
Operation make_truncate(Choices& choices);
Operation make_unlink(Choices& choices);
Operation make_rmdir(Choices& choices);
Operation make_mkdir(Choices& choices);
Operation make_rename(Choices& choices);
Operation make_link(Choices& choices);
Operation make_symlink(Choices& choices);
Operation make_readlink(Choices& choices);
Operation make_mknod(Choices& choices);
Operation make_chmod(Choices& choices);
Operation make_chown(Choices& choices);
Operation make_utimens(Choices& choices);
Operation make_setxattr(Choices& choices);
Operation make_getxattr(Choices& choices);
Operation make_listxattr(Choices& choices);
Operation make_removexattr(Choices& choices);
Operation make_list(Choices& choices);
Operation make_stat(Choices& choices);
Operation make_access(Choices& choices);
Operation make_statfs(Choices& choices);

Operation make_slot_read(Choices& choices);
Operation make_slot_write(Choices& choices);
Operation make_seek(Choices& choices);
Operation make_slot_truncate(Choices& choices);
Operation make_fstat(Choices& choices);
Operation make_slot_attribute(Choices& choices);
Operation make_fsync(Choices& choices);
Operation make_fallocate(Choices& choices);
Operation make_copy_range(Choices& choices);
Operation make_map_write(Choices& choices);
Operation make_link_fd(Choices& choices);
Operation make_list_fd(Choices& choices);
Operation make_flock(Choices& choices);
Operation make_slot_xattr(Choices& choices);
Operation make_close(Choices& choices);

Operation make_umask(Choices& choices);
Operation make_compare(Choices& choices);
Operation make_remount(Choices& choices);
Operation make_drop_caches(Choices& choices);

}  // namespace plyfs::difftest
