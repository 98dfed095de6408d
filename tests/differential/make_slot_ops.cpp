// Makers of operations on open descriptors, and of the few that concern the whole mount.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "choices.h"

namespace plyfs::difftest {
namespace {

Operation on_slot(OpKind kind, int slot) {
  Operation op;
  op.kind = kind;
  op.slot = slot;
  return op;
}

}  // namespace

Operation make_slot_read(Choices& choices) {
  Operation op =
      on_slot(choices.random.chance(60) ? OpKind::kPread : OpKind::kRead, choices.file_slot());
  op.offset = choices.offset();
  op.length = 1 + choices.random.below(5000);
  return op;
}

Operation make_slot_write(Choices& choices) {
  Operation op = on_slot(choices.random.chance(60) ? OpKind::kPwrite : OpKind::kWrite,
                         choices.writable_slot());
  op.offset = choices.offset();
  op.length = choices.length();
  op.data_seed = choices.data_seed();
  return op;
}

Operation make_seek(Choices& choices) {
  Operation op = on_slot(OpKind::kSeek, choices.file_slot());
  static const std::vector<int> kWhences = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE};
  op.flags = choices.random.pick(kWhences);
  op.offset = op.flags == SEEK_END ? 0 : choices.offset();
  return op;
}

Operation make_slot_truncate(Choices& choices) {
  Operation op = on_slot(OpKind::kFtruncate, choices.writable_slot());
  op.offset = choices.offset();
  return op;
}

Operation make_fstat(Choices& choices) { return on_slot(OpKind::kFstat, choices.any_slot()); }

Operation make_slot_attribute(Choices& choices) {
  static const std::vector<OpKind> kKinds = {OpKind::kFchmod, OpKind::kFchown, OpKind::kFutimens};
  Operation op = on_slot(choices.random.pick(kKinds), choices.any_slot());
  op.mode = choices.mode();
  op.uid = choices.owner();
  op.gid = choices.owner();
  op.times = {choices.time(), choices.time()};
  return op;
}

Operation make_fsync(Choices& choices) {
  Operation op = on_slot(OpKind::kFsync, choices.any_slot());
  op.flags = choices.random.chance(50) ? 1 : 0;
  return op;
}

Operation make_fallocate(Choices& choices) {
  Operation op = on_slot(OpKind::kFallocate, choices.writable_slot());
  // The modes that FUSE passes on; the others depend on the file system alone.
  static const std::vector<int> kModes = {
      0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
  op.flags = choices.random.pick(kModes);
  op.offset = choices.offset();
  op.length = choices.length();
  return op;
}

Operation make_copy_range(Choices& choices) {
  Operation op = on_slot(OpKind::kCopyRange, choices.file_slot());
  op.other_slot = choices.writable_slot();
  op.offset = choices.offset();
  op.other_offset = choices.offset();
  op.length = choices.length();
  return op;
}

Operation make_map_write(Choices& choices) {
  Operation op = on_slot(OpKind::kMapWrite, choices.writable_slot());
  op.offset = choices.random.between(0, 300);
  op.length = choices.length();
  op.data_seed = choices.data_seed();
  return op;
}

Operation make_link_fd(Choices& choices) {
  Operation op = on_slot(OpKind::kLinkFd, choices.file_slot());
  op.path = choices.new_path();
  if (!choices.model.has(op.path)) choices.model.add(op.path, PathKind::kFile);
  return op;
}

Operation make_list_fd(Choices& choices) { return on_slot(OpKind::kListFd, choices.any_slot()); }

Operation make_flock(Choices& choices) {
  Operation op = on_slot(OpKind::kFlock, choices.any_slot());
  static const std::vector<int> kLocks = {LOCK_SH, LOCK_EX, LOCK_UN};
  op.flags = choices.random.pick(kLocks);
  return op;
}

Operation make_slot_xattr(Choices& choices) {
  const bool set = choices.random.chance(55);
  Operation op = on_slot(set ? OpKind::kFsetxattr : OpKind::kFgetxattr, choices.any_slot());
  op.xattr = choices.xattr_name();
  op.value = choices.xattr_value(op.xattr);
  op.length = 4096;
  return op;
}

Operation make_close(Choices& choices) {
  Operation op = on_slot(OpKind::kClose, choices.any_slot());
  choices.slot_used[static_cast<std::size_t>(op.slot)] = false;
  return op;
}

Operation make_umask(Choices& choices) {
  Operation op;
  op.kind = OpKind::kUmask;
  static const std::vector<mode_t> kMasks = {022, 022, 0, 077, 027};
  op.mode = choices.random.pick(kMasks);
  return op;
}

Operation make_compare(Choices&) {
  Operation op;
  op.kind = OpKind::kCompare;
  return op;
}

Operation make_remount(Choices& choices) {
  Operation op;
  op.kind = OpKind::kRemount;
  choices.slot_used.fill(false);
  return op;
}

Operation make_drop_caches(Choices& choices) {
  Operation op;
  op.kind = choices.limits.drop_caches ? OpKind::kDropCaches : OpKind::kCompare;
  return op;
}

}  // namespace plyfs::difftest
