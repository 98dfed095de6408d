// Attributes of objects. Links are never followed.
#pragma once

#include <string>

#include "base/file_stat.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

Result<FileStat> stat_object(ObjectRef object);
Status change_mode(ObjectRef object, mode_t mode);
/// -1 leaves an id unchanged, as chown(2).
Status change_owner(ObjectRef object, uid_t uid, gid_t gid);
Status change_times(ObjectRef object, const TimeChange& atime, const TimeChange& mtime);
Status truncate_object(ObjectRef object, std::int64_t size_bytes);
Result<std::string> read_link(ObjectRef object);
/// statvfs figures and the filesystem's magic number.
Result<FilesystemStat> stat_filesystem(BorrowedFd fd);
Result<std::uint64_t> filesystem_magic(BorrowedFd fd);
/// A filesystem that keeps data back until close(2), which tells what went wrong, and asks for news
/// at open(2): those of other machines, and all of FUSE, which may lead there.
Result<bool> is_close_to_open(BorrowedFd fd);
/// Whether `fd` leads to a name that the kernel's NFS client gave to a file which somebody on this
/// machine deleted while `fd` held it (".nfs" and 24 digits). The file has that name, and its link
/// count, until the last descriptor is closed. Asks nobody but this kernel.
bool is_set_aside(BorrowedFd fd);
Result<bool> filesystem_is_read_only(BorrowedFd fd);
/// What the mount through which `fd` was opened refuses. False where that cannot be asked.
struct MountRefusals {
  bool suid = false;     ///< nosuid
  bool devices = false;  ///< nodev
};
MountRefusals mount_refusals(BorrowedFd fd);

}  // namespace plyfs::sys
