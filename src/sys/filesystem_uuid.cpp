#include "sys/filesystem_uuid.h"

#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include <cstring>

namespace plyfs::sys {
namespace {

// struct fsuuid2 of <linux/fs.h>, Linux 6.9.
struct FsUuid {
  std::uint8_t size;
  std::uint8_t uuid[16];
};
constexpr unsigned long kGetFsUuid = _IOR(0x15, 0, FsUuid);

// struct fsuuid of Linux's fs/ext4/ext4.h, whose bytes follow; the number counts the head alone.
struct Ext4Uuid {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint8_t uuid[16];
};
constexpr unsigned long kExt4GetFsUuid = _IOC(_IOC_READ, 'f', 44, 8);

// struct xfs_fsop_geom_v1 of Linux's fs/xfs/libxfs/xfs_fs.h.
struct XfsGeometry {
  std::uint32_t sizes[8];
  std::uint64_t blocks[4];
  std::uint8_t uuid[16];
  std::uint32_t rest[7];
};
constexpr unsigned long kXfsGeometry = _IOR('X', 100, XfsGeometry);
static_assert(sizeof(XfsGeometry) == 112);

FilesystemUuid copy_of(const std::uint8_t* bytes) {
  FilesystemUuid uuid{};
  std::memcpy(uuid.data(), bytes, uuid.size());
  return uuid;
}

}  // namespace

std::optional<FilesystemUuid> filesystem_uuid(BorrowedFd fd) {
  FsUuid raw{};
  if (::ioctl(fd.get(), kGetFsUuid, &raw) == 0 && raw.size == sizeof(raw.uuid)) {
    return copy_of(raw.uuid);
  }
  return uuid_by_type(fd);
}

std::optional<FilesystemUuid> uuid_by_type(BorrowedFd fd) {
  // Asked first: another filesystem may understand the same numbers otherwise.
  struct statfs system {};
  if (::fstatfs(fd.get(), &system) != 0) {
    return std::nullopt;
  }
  if (system.f_type == EXT4_SUPER_MAGIC) {
    Ext4Uuid raw{sizeof(Ext4Uuid::uuid), 0, {}};
    if (::ioctl(fd.get(), kExt4GetFsUuid, &raw) == 0 && raw.size == sizeof(raw.uuid)) {
      return copy_of(raw.uuid);
    }
  } else if (system.f_type == XFS_SUPER_MAGIC) {
    XfsGeometry raw{};
    if (::ioctl(fd.get(), kXfsGeometry, &raw) == 0) {
      return copy_of(raw.uuid);
    }
  } else if (system.f_type == BTRFS_SUPER_MAGIC) {
    btrfs_ioctl_fs_info_args raw{};
    if (::ioctl(fd.get(), BTRFS_IOC_FS_INFO, &raw) == 0) {
      return copy_of(raw.fsid);
    }
  }
  return std::nullopt;
}

}  // namespace plyfs::sys
