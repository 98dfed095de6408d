// One file operation of a sequence: plain data, executed alike on both mounts.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

namespace plyfs::difftest {

/// Number of file descriptors that a sequence may hold open on each side.
inline constexpr int kSlots = 8;

enum class OpKind : std::uint8_t {
  // through a path
  kOpen,
  kTruncate,
  kReadFile,
  kWriteFile,
  kUnlink,
  kRmdir,
  kMkdir,
  kRename,
  kLink,
  kSymlink,
  kReadlink,
  kMknod,
  kChmod,
  kChown,
  kUtimens,
  kSetxattr,
  kGetxattr,
  kListxattr,
  kRemovexattr,
  kList,
  kStat,
  kAccess,
  kStatfs,
  // through an open descriptor
  kClose,
  kRead,
  kPread,
  kWrite,
  kPwrite,
  kSeek,
  kFtruncate,
  kFstat,
  kFchmod,
  kFchown,
  kFutimens,
  kFsync,
  kFallocate,
  kCopyRange,
  kMapWrite,
  kLinkFd,
  kListFd,
  kFlock,
  kFsetxattr,
  kFgetxattr,
  // of the process or of the whole mount
  kUmask,
  kCompare,     ///< compare the whole trees now
  kRemount,     ///< unmount and mount both, compare each with itself and with the other
  kDropCaches,  ///< echo 3 > /proc/sys/vm/drop_caches
  kCount,
};

/// Which identity runs an operation: root of the (user) namespace or an ordinary user.
enum class Actor : std::uint8_t { kRoot, kOrdinary };

/// The ordinary user's ids; its second group is what setgid tests need.
inline constexpr uid_t kOrdinaryUid = 1001;
inline constexpr gid_t kOrdinaryGid = 1001;
inline constexpr gid_t kSecondGid = 1002;

struct Operation {
  OpKind kind = OpKind::kStat;
  Actor actor = Actor::kRoot;
  int at = -1;  ///< slot of the directory that paths start from; -1 = the mount's root
  std::string path;
  std::string other;  ///< rename and link target, symlink content
  int slot = -1;
  int other_slot = -1;
  int flags = 0;
  mode_t mode = 0;
  off_t offset = 0;
  off_t other_offset = 0;
  std::size_t length = 0;
  std::uint64_t data_seed = 0;
  std::string xattr;
  std::string value;
  std::array<timespec, 2> times{};
  uid_t uid = 0;
  gid_t gid = 0;
  dev_t device = 0;
};

/// The operation's word, as printed.
std::string_view name_of(OpKind kind);

/// One readable pseudo shell line.
std::string describe(const Operation& operation);

/// `bytes` as a shell word: quoted, other than printable characters as \xNN, long runs shortened.
std::string shell_word(std::string_view bytes);

/// True when the kind works on a descriptor slot rather than on a path.
bool uses_slot(OpKind kind);

}  // namespace plyfs::difftest
