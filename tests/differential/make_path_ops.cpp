// Makers of operations on paths.
#include <fcntl.h>
#include <stdio.h>  // RENAME_*
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "choices.h"

namespace plyfs::difftest {
namespace {

Operation on_path(OpKind kind, std::string path) {
  Operation op;
  op.kind = kind;
  op.path = std::move(path);
  return op;
}

/// Now and then the path starts from an open directory, which may be renamed or removed by now.
void maybe_relative(Choices& choices, Operation& op) {
  if (!choices.random.chance(5)) return;
  const auto slot = static_cast<std::size_t>(choices.any_slot());
  if (!choices.slot_used[slot] || choices.slot_kinds[slot] != PathKind::kDirectory) return;
  op.at = static_cast<int>(slot);
  op.path = choices.random.pick(name_pool());
}

int open_flags(Choices& choices) {
  static const std::vector<int> kAccess = {O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
  int flags = choices.random.pick(kAccess);
  if (choices.random.chance(30)) flags |= O_CREAT;
  if (choices.random.chance(8)) flags |= O_EXCL;
  if (choices.random.chance(15)) flags |= O_TRUNC;
  if (choices.random.chance(15)) flags |= O_APPEND;
  if (choices.random.chance(5)) flags |= O_DIRECTORY;
  if (choices.random.chance(8)) flags |= O_NOFOLLOW;
  if (choices.random.chance(3)) flags |= O_NOATIME;
  if (choices.random.chance(4)) flags |= O_PATH;
  if (choices.random.chance(3)) flags |= O_SYNC;
  return flags;
}

bool is_empty(const PathModel& model, const std::string& directory) {
  const auto next = model.paths().upper_bound(directory);
  return next == model.paths().end() || !is_under(next->first, directory);
}

/// Whether rename(2) lets `from` take the place of `to`.
bool replaces(const PathModel& model, const std::string& from, const std::string& to) {
  const bool directory = model.paths().at(to) == PathKind::kDirectory;
  if (directory != (model.paths().at(from) == PathKind::kDirectory)) return false;
  return !directory || is_empty(model, to);
}

void remember_open(Choices& choices, const Operation& op, PathKind kind) {
  const auto slot = static_cast<std::size_t>(op.slot);
  const bool exists = choices.model.has(op.path);
  const bool refused = (op.flags & O_CREAT) != 0 ? exists && (op.flags & O_EXCL) != 0
                                                 : !choices.is(op.path, kind) && op.path != ".";
  const bool temporary = (op.flags & O_TMPFILE) == O_TMPFILE;
  const bool mismatch = (op.flags & O_DIRECTORY) != 0 && kind != PathKind::kDirectory;
  choices.slot_used[slot] = temporary || (!refused && !mismatch);
  choices.slot_kinds[slot] = kind;
  choices.slot_writable[slot] = (op.flags & O_ACCMODE) != O_RDONLY && (op.flags & O_PATH) == 0;
  if ((op.flags & O_CREAT) != 0 && !exists) {
    choices.model.add(op.path, PathKind::kFile);
  }
}

}  // namespace

Operation make_open(Choices& choices) {
  Operation op = on_path(OpKind::kOpen, "");
  op.slot = static_cast<int>(choices.random.below(kSlots));
  op.mode = choices.mode();
  if (choices.random.chance(5) && choices.limits.tmpfile) {
    op.path = choices.twisted(choices.directory_path());
    op.flags = O_TMPFILE | (choices.random.chance(60) ? O_RDWR : O_WRONLY);
    if (choices.random.chance(20)) op.flags |= O_EXCL;
    remember_open(choices, op, PathKind::kFile);
    return op;
  }
  if (choices.random.chance(18)) {
    op.path = choices.twisted(choices.directory_path());
    op.flags = O_RDONLY | (choices.random.chance(70) ? O_DIRECTORY : 0);
    remember_open(choices, op, PathKind::kDirectory);
    return op;
  }
  op.flags = open_flags(choices);
  const bool fresh = (op.flags & O_CREAT) != 0 && choices.random.chance(60);
  op.path = choices.twisted(fresh ? choices.new_path() : choices.file_path());
  maybe_relative(choices, op);
  remember_open(choices, op, PathKind::kFile);
  return op;
}

Operation make_whole_read(Choices& choices) {
  return on_path(OpKind::kReadFile, choices.twisted(choices.file_path()));
}

Operation make_whole_write(Choices& choices) {
  Operation op = on_path(OpKind::kWriteFile, choices.twisted(choices.file_path()));
  op.flags = choices.random.chance(40) ? 1 : 0;
  op.offset = choices.offset();
  op.length = choices.length();
  op.data_seed = choices.data_seed();
  return op;
}

Operation make_truncate(Choices& choices) {
  Operation op = on_path(OpKind::kTruncate, choices.twisted(choices.file_path()));
  op.offset = choices.offset();
  return op;
}

Operation make_unlink(Choices& choices) {
  const bool file = choices.random.chance(70);
  const std::string path = file ? choices.file_path() : choices.any_path();
  Operation op = on_path(OpKind::kUnlink, choices.twisted(path));
  maybe_relative(choices, op);
  const auto known = choices.model.paths().find(op.path);
  if (known != choices.model.paths().end() && known->second != PathKind::kDirectory) {
    choices.model.remove(op.path);
  }
  return op;
}

Operation make_rmdir(Choices& choices) {
  Operation op = on_path(OpKind::kRmdir, choices.twisted(choices.directory_path()));
  maybe_relative(choices, op);
  if (choices.is(op.path, PathKind::kDirectory) && is_empty(choices.model, op.path)) {
    choices.model.remove(op.path);
  }
  return op;
}

Operation make_mkdir(Choices& choices) {
  const bool fresh = choices.random.chance(90);
  Operation op =
      on_path(OpKind::kMkdir, choices.twisted(fresh ? choices.new_path() : choices.any_path()));
  op.mode = choices.random.chance(60) ? 0755 : choices.mode();
  maybe_relative(choices, op);
  if (!choices.model.has(op.path)) choices.model.add(op.path, PathKind::kDirectory);
  return op;
}

Operation make_rename(Choices& choices) {
  Random& random = choices.random;
  Operation op = on_path(OpKind::kRename, "");
  const bool directory = random.chance(50);
  op.path = directory ? choices.directory_path() : choices.any_path();
  const std::size_t roll = random.below(100);
  if (roll < 45) {
    op.other = choices.new_path();
  } else if (roll < 70) {
    op.other = directory ? choices.directory_path() : choices.file_path();
  } else if (roll < 74) {
    op.other = op.path + "/" + random.pick(name_pool());
  } else {
    op.other = choices.any_path();
  }
  const std::size_t flags = random.below(100);
  if (flags >= 70) op.flags = flags < 80 ? RENAME_NOREPLACE : RENAME_EXCHANGE;
  if (flags >= 98) op.flags = flags == 98 ? RENAME_WHITEOUT : RENAME_NOREPLACE | RENAME_EXCHANGE;
  op.path = choices.twisted(op.path);
  op.other = choices.twisted(op.other);
  maybe_relative(choices, op);
  const bool exists = choices.model.has(op.other);
  if (!choices.model.has(op.path)) return op;
  if (op.flags == RENAME_EXCHANGE && exists) choices.model.exchange(op.path, op.other);
  const bool moves = exists ? op.flags == 0 && replaces(choices.model, op.path, op.other)
                            : op.flags == 0 || op.flags == RENAME_NOREPLACE;
  if (moves) choices.model.move(op.path, op.other);
  return op;
}

Operation make_link(Choices& choices) {
  const bool file = choices.random.chance(85);
  Operation op =
      on_path(OpKind::kLink, choices.twisted(file ? choices.file_path() : choices.any_path()));
  op.other = choices.twisted(choices.random.chance(92) ? choices.new_path() : choices.any_path());
  if (choices.random.chance(15)) op.flags = AT_SYMLINK_FOLLOW;
  if (!choices.model.has(op.other)) choices.model.add(op.other, PathKind::kFile);
  return op;
}

Operation make_symlink(Choices& choices) {
  Operation op = on_path(OpKind::kSymlink, choices.twisted(choices.new_path()));
  op.other = random_target(choices.random);
  maybe_relative(choices, op);
  if (!choices.model.has(op.path)) choices.model.add(op.path, PathKind::kSymlink);
  return op;
}

Operation make_readlink(Choices& choices) {
  const bool link = choices.random.chance(80);
  return on_path(OpKind::kReadlink,
                 link ? choices.of_kind(PathKind::kSymlink) : choices.any_path());
}

Operation make_mknod(Choices& choices) {
  Operation op = on_path(OpKind::kMknod, choices.twisted(choices.new_path()));
  static const std::vector<mode_t> kTypes = {S_IFIFO, S_IFIFO, S_IFSOCK, S_IFREG, S_IFCHR, S_IFBLK};
  op.mode = choices.random.pick(kTypes);
  if ((S_ISCHR(op.mode) || S_ISBLK(op.mode)) && !choices.limits.layers.devices) op.mode = S_IFIFO;
  if (S_ISCHR(op.mode) || S_ISBLK(op.mode)) {
    op.device = makedev(240 + static_cast<unsigned>(choices.random.below(4)),
                        static_cast<unsigned>(choices.random.below(300)));
  }
  const PathKind kind = S_ISREG(op.mode) ? PathKind::kFile : PathKind::kOther;
  op.mode |= choices.mode() & 07777U;
  maybe_relative(choices, op);
  if (!choices.model.has(op.path)) choices.model.add(op.path, kind);
  return op;
}

Operation make_chmod(Choices& choices) {
  Operation op = on_path(OpKind::kChmod, choices.twisted(choices.any_path()));
  op.mode = choices.mode();
  return op;
}

Operation make_chown(Choices& choices) {
  Operation op = on_path(OpKind::kChown, choices.twisted(choices.any_path()));
  op.uid = choices.owner();
  op.gid = choices.owner();
  return op;
}

Operation make_utimens(Choices& choices) {
  Operation op = on_path(OpKind::kUtimens, choices.twisted(choices.any_path()));
  op.times = {choices.time(), choices.time()};
  return op;
}

Operation make_setxattr(Choices& choices) {
  Operation op = on_path(OpKind::kSetxattr, choices.twisted(choices.any_path()));
  op.xattr = choices.xattr_name();
  op.value = choices.xattr_value(op.xattr);
  if (choices.random.chance(20)) {
    op.flags = choices.random.chance(50) ? XATTR_CREATE : XATTR_REPLACE;
  }
  return op;
}

Operation make_getxattr(Choices& choices) {
  Operation op = on_path(OpKind::kGetxattr, choices.any_path());
  op.xattr = choices.xattr_name();
  static const std::vector<std::size_t> kSizes = {4096, 4096, 65536, 0, 1, 10};
  op.length = choices.random.pick(kSizes);
  return op;
}

Operation make_listxattr(Choices& choices) {
  return on_path(OpKind::kListxattr, choices.any_path());
}

Operation make_removexattr(Choices& choices) {
  Operation op = on_path(OpKind::kRemovexattr, choices.any_path());
  op.xattr = choices.xattr_name();
  return op;
}

Operation make_list(Choices& choices) {
  const std::string path =
      choices.random.chance(85) ? choices.of_kind(PathKind::kDirectory) : choices.any_path();
  return on_path(OpKind::kList, choices.twisted(path));
}

Operation make_stat(Choices& choices) {
  Operation op = on_path(OpKind::kStat, choices.twisted(choices.any_path()));
  op.flags = choices.random.chance(75) ? AT_SYMLINK_NOFOLLOW : 0;
  maybe_relative(choices, op);
  return op;
}

Operation make_access(Choices& choices) {
  Operation op = on_path(OpKind::kAccess, choices.twisted(choices.any_path()));
  op.flags = static_cast<int>(choices.random.below(8));
  return op;
}

Operation make_statfs(Choices& choices) {
  return on_path(OpKind::kStatfs, choices.twisted(choices.any_path()));
}

}  // namespace plyfs::difftest
