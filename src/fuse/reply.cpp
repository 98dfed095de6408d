#include "fuse/reply.h"

#include <sys/statvfs.h>

#include "fuse/raw_request.h"

namespace plyfs::fuse {

struct stat to_stat(const FileStat& stat) {
  struct stat raw {};
  raw.st_ino = stat.ino;
  raw.st_mode = stat.mode;
  raw.st_nlink = stat.nlink;
  raw.st_uid = stat.uid;
  raw.st_gid = stat.gid;
  raw.st_rdev = stat.rdev;
  raw.st_size = stat.size_bytes;
  raw.st_blocks = stat.blocks_512;
  raw.st_blksize = stat.block_size_bytes;
  raw.st_atim = stat.atime;
  raw.st_mtim = stat.mtime;
  raw.st_ctim = stat.ctime;
  return raw;
}

AttrChange to_change(const struct stat& attributes, int to_set) {
  AttrChange change;
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
    change.mode = attributes.st_mode;
  }
  if ((to_set & FUSE_SET_ATTR_UID) != 0) {
    change.uid = attributes.st_uid;
  }
  if ((to_set & FUSE_SET_ATTR_GID) != 0) {
    change.gid = attributes.st_gid;
  }
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
    change.size_bytes = attributes.st_size;
  }
  const auto time = [&](int now, int value, const timespec& stamp) -> TimeChange {
    if ((to_set & now) != 0) {
      return {TimeChange::Kind::kNow, {}};
    }
    if ((to_set & value) != 0) {
      return {TimeChange::Kind::kValue, stamp};
    }
    return {};
  };
  change.atime = time(FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, attributes.st_atim);
  change.mtime = time(FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, attributes.st_mtim);
  return change;
}

struct statvfs to_statvfs(const FilesystemStat& stat) {
  struct statvfs raw {};
  raw.f_bsize = stat.block_size_bytes;
  raw.f_frsize = stat.fragment_size_bytes;
  raw.f_blocks = stat.blocks;
  raw.f_bfree = stat.blocks_free;
  raw.f_bavail = stat.blocks_available;
  raw.f_files = stat.files;
  raw.f_ffree = stat.files_free;
  raw.f_namemax = stat.name_max;
  return raw;
}

RequestContext context_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return {context->uid, context->gid, context->umask & 0777, raw_request().outside_of_group};
}

}  // namespace plyfs::fuse
