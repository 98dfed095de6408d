#include "sys/object_stat.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <string_view>

#include "sys/checked.h"
#include "sys/proc_path.h"

namespace plyfs::sys {
namespace {

static_assert(kTypeMask == S_IFMT && kTypeDirectory == S_IFDIR && kTypeRegular == S_IFREG);

timespec time_of(const struct ::statx_timestamp& stamp) { return {stamp.tv_sec, stamp.tv_nsec}; }

FileStat convert(const struct ::statx& raw) {
  FileStat stat;
  stat.dev = makedev(raw.stx_dev_major, raw.stx_dev_minor);
  stat.ino = raw.stx_ino;
  stat.mode = raw.stx_mode;
  stat.nlink = raw.stx_nlink;
  stat.uid = raw.stx_uid;
  stat.gid = raw.stx_gid;
  stat.rdev = makedev(raw.stx_rdev_major, raw.stx_rdev_minor);
  stat.size_bytes = static_cast<std::int64_t>(raw.stx_size);
  stat.blocks_512 = static_cast<std::int64_t>(raw.stx_blocks);
  stat.block_size_bytes = raw.stx_blksize;
  stat.atime = time_of(raw.stx_atime);
  stat.mtime = time_of(raw.stx_mtime);
  stat.ctime = time_of(raw.stx_ctime);
  if ((raw.stx_mask & STATX_BTIME) != 0) {
    stat.btime = time_of(raw.stx_btime);
  }
  stat.mount_root = (raw.stx_attributes & raw.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0;
  return stat;
}

timespec to_timespec(const TimeChange& change) {
  switch (change.kind) {
    case TimeChange::Kind::kOmit:
      return {0, UTIME_OMIT};
    case TimeChange::Kind::kNow:
      return {0, UTIME_NOW};
    case TimeChange::Kind::kValue:
      return change.value;
  }
  return {0, UTIME_OMIT};
}

// fchmodat2(2), Linux 6.6. Debian 12's headers do not know it.
#if !defined(SYS_fchmodat2)
constexpr long kFchmodat2 = 452;
#else
constexpr long kFchmodat2 = SYS_fchmodat2;
#endif
std::atomic<bool> fchmodat2_missing{false};

}  // namespace

Result<FileStat> stat_object(ObjectRef object) {
  struct ::statx raw {};
  // AT_EMPTY_PATH makes the kernel look at the name once more.
  const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (object.by_fd() ? AT_EMPTY_PATH : 0);
  if (::statx(object.dir.get(), object.name, flags, STATX_BASIC_STATS | STATX_BTIME, &raw) != 0) {
    return Errno{errno};
  }
  return convert(raw);
}

Status change_mode(ObjectRef object, mode_t mode) {
  if (!fchmodat2_missing.load(std::memory_order_relaxed)) {
    if (::syscall(kFchmodat2, object.dir.get(), object.name, mode,
                  AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0) {
      return {};
    }
    if (errno != ENOSYS) {
      return Errno{errno};
    }
    fchmodat2_missing.store(true, std::memory_order_relaxed);
  }
  if (object.by_fd()) {
    // EBADF: an O_PATH handle.
    if (::fchmod(object.dir.get(), mode) == 0) {
      return {};
    }
    return errno == EBADF ? checked(::chmod(ProcPath{object}.c_str(), mode)) : Errno{errno};
  }
  // fchmodat follows links: go through a handle, so that a link put there on the host is refused.
  UniqueFd handle{::openat(object.dir.get(), object.name, O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  if (!handle.valid()) {
    return Errno{errno};
  }
  return checked(::chmod(ProcPath{ObjectRef{handle.borrow(), ""}}.c_str(), mode));
}

Status change_owner(ObjectRef object, uid_t uid, gid_t gid) {
  return checked(
      ::fchownat(object.dir.get(), object.name, uid, gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

Status change_times(ObjectRef object, const TimeChange& atime, const TimeChange& mtime) {
  const timespec times[2] = {to_timespec(atime), to_timespec(mtime)};
  if (object.by_fd()) {
    // Since Linux 5.8; before, and by futimens(3), a handle (O_PATH) is refused.
    if (::utimensat(object.dir.get(), "", times, AT_EMPTY_PATH) == 0) {
      return {};
    }
    return errno == EINVAL ? checked(::utimensat(AT_FDCWD, ProcPath{object}.c_str(), times, 0))
                           : Errno{errno};
  }
  return checked(::utimensat(object.dir.get(), object.name, times, AT_SYMLINK_NOFOLLOW));
}

Status truncate_object(ObjectRef object, std::int64_t size_bytes) {
  return checked(::truncate(ProcPath{object}.c_str(), size_bytes));
}

Result<std::string> read_link(ObjectRef object) {
  std::string target(4096, '\0');
  const ssize_t size = ::readlinkat(object.dir.get(), object.name, target.data(), target.size());
  if (size < 0) {
    return Errno{errno};
  }
  target.resize(static_cast<std::size_t>(size));
  return target;
}

Result<FilesystemStat> stat_filesystem(BorrowedFd fd) {
  struct ::statvfs raw {};
  if (::fstatvfs(fd.get(), &raw) != 0) {
    return Errno{errno};
  }
  FilesystemStat stat;
  stat.block_size_bytes = raw.f_bsize;
  stat.fragment_size_bytes = raw.f_frsize;
  stat.blocks = raw.f_blocks;
  stat.blocks_free = raw.f_bfree;
  stat.blocks_available = raw.f_bavail;
  stat.files = raw.f_files;
  stat.files_free = raw.f_ffree;
  stat.name_max = raw.f_namemax;
  return stat;
}

Result<std::uint64_t> filesystem_magic(BorrowedFd fd) {
  struct ::statfs raw {};
  if (::fstatfs(fd.get(), &raw) != 0) {
    return Errno{errno};
  }
  return static_cast<std::uint64_t>(raw.f_type);
}

Result<bool> is_close_to_open(BorrowedFd fd) {
  static constexpr std::array<std::uint64_t, 9> kMagics{
      0x65735546,  // FUSE: sshfs, GlusterFS and many others
      0x6969,      // NFS
      0xFF534D42,  // CIFS
      0xFE534D42,  // SMB 2 and 3
      0x01021997,  // 9P
      0x00C36400,  // Ceph
      0x6B414653,  // AFS
      0x5346414F,  // OpenAFS
      0x73757245,  // Coda
  };
  const std::uint64_t magic = TRY(filesystem_magic(fd));
  return std::find(kMagics.begin(), kMagics.end(), magic) != kMagics.end();
}

bool is_set_aside(BorrowedFd fd) {
  constexpr std::string_view kPrefix = ".nfs";
  constexpr std::size_t kDigits = 24;
  std::array<char, PATH_MAX> path{};
  const ssize_t size = ::readlink(ProcPath({fd, ""}).c_str(), path.data(), path.size());
  const std::string_view whole{path.data(), size < 0 ? 0 : static_cast<std::size_t>(size)};
  const std::string_view name = whole.substr(whole.rfind('/') + 1);
  return name.size() == kPrefix.size() + kDigits && name.starts_with(kPrefix) &&
         name.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

Result<bool> filesystem_is_read_only(BorrowedFd fd) {
  struct ::statvfs raw {};
  if (::fstatvfs(fd.get(), &raw) != 0) {
    return Errno{errno};
  }
  return (raw.f_flag & ST_RDONLY) != 0;
}

MountRefusals mount_refusals(BorrowedFd fd) {
  struct ::statvfs raw {};
  const bool told = ::fstatvfs(fd.get(), &raw) == 0;
  return {told && (raw.f_flag & ST_NOSUID) != 0, told && (raw.f_flag & ST_NODEV) != 0};
}

}  // namespace plyfs::sys
