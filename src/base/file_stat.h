// What stat(2) and chmod/chown/utimens say, without <sys/stat.h> (which lives in sys/ only).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <optional>

namespace plyfs {

inline constexpr mode_t kTypeMask = 0170000;
inline constexpr mode_t kTypeFifo = 0010000;
inline constexpr mode_t kTypeChar = 0020000;
inline constexpr mode_t kTypeDirectory = 0040000;
inline constexpr mode_t kTypeBlock = 0060000;
inline constexpr mode_t kTypeRegular = 0100000;
inline constexpr mode_t kTypeSymlink = 0120000;
inline constexpr mode_t kTypeSocket = 0140000;
inline constexpr mode_t kPermissionMask = 07777;
inline constexpr mode_t kSetUid = 04000;
inline constexpr mode_t kSetGid = 02000;
inline constexpr mode_t kSticky = 01000;
inline constexpr mode_t kGroupExecute = 0010;
inline constexpr mode_t kOwnerReadWrite = 0600;

/// A mode without what lets an executable run as somebody else. On directories sgid is about
/// groups.
constexpr mode_t without_privileges(mode_t mode) {
  return (mode & kTypeMask) == kTypeDirectory ? mode & ~kSetUid : mode & ~(kSetUid | kSetGid);
}

/// Values as on the disk of the layer unless said otherwise. Plain data.
struct FileStat {
  dev_t dev = 0;
  ino_t ino = 0;
  mode_t mode = 0;
  nlink_t nlink = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  dev_t rdev = 0;
  std::int64_t size_bytes = 0;
  std::int64_t blocks_512 = 0;
  std::int64_t block_size_bytes = 0;
  timespec atime{};
  timespec mtime{};
  timespec ctime{};
  timespec btime{};         ///< birth; zero where the filesystem does not tell
  bool mount_root = false;  ///< another filesystem is mounted here on the host (Linux 5.8)

  [[nodiscard]] mode_t type() const { return mode & kTypeMask; }
  [[nodiscard]] bool is_directory() const { return type() == kTypeDirectory; }
  [[nodiscard]] bool is_regular() const { return type() == kTypeRegular; }
  [[nodiscard]] bool is_symlink() const { return type() == kTypeSymlink; }
  /// The kernel's whiteout: character device 0:0.
  [[nodiscard]] bool is_whiteout_device() const { return type() == kTypeChar && rdev == 0; }
};

/// d_type of getdents64(2): the file type shifted, 0 when the filesystem does not tell.
inline constexpr std::uint8_t kEntryTypeUnknown = 0;
constexpr std::uint8_t entry_type_of(mode_t mode) {
  return static_cast<std::uint8_t>((mode & kTypeMask) >> 12);
}
constexpr mode_t mode_of_entry_type(std::uint8_t entry_type) {
  return static_cast<mode_t>(entry_type) << 12;
}

/// How a time is to be set: nanoseconds; UTIME_NOW and UTIME_OMIT as utimensat(2).
struct TimeChange {
  enum class Kind : std::uint8_t { kOmit, kNow, kValue };
  Kind kind = Kind::kOmit;
  timespec value{};
};

/// What setattr changes. Absent means unchanged.
struct AttrChange {
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<std::int64_t> size_bytes;
  TimeChange atime;
  TimeChange mtime;
  bool kill_suid_sgid = false;  ///< FUSE_HANDLE_KILLPRIV_V2: the caller lacks CAP_FSETID
  /// Nothing but a modification time, as the kernel's write-back of cached times sends it. It comes
  /// after unlink, too, when it says what we know already.
  bool times_of_cache = false;

  [[nodiscard]] bool sets_times() const {
    return atime.kind != TimeChange::Kind::kOmit || mtime.kind != TimeChange::Kind::kOmit;
  }
};

struct FilesystemStat {
  std::uint64_t block_size_bytes = 0;
  std::uint64_t fragment_size_bytes = 0;
  std::uint64_t blocks = 0;
  std::uint64_t blocks_free = 0;
  std::uint64_t blocks_available = 0;
  std::uint64_t files = 0;
  std::uint64_t files_free = 0;
  std::uint64_t name_max = 255;
};

}  // namespace plyfs
