#include "sys/mount_tree.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace plyfs::sys {
namespace {

#if !defined(SYS_mount_setattr)
constexpr long kMountSetattr = 442;
#else
constexpr long kMountSetattr = SYS_mount_setattr;
#endif
constexpr long kOpenTreeCall = SYS_open_tree;
constexpr long kMoveMount = SYS_move_mount;

constexpr unsigned kCloneTree = 1;               // OPEN_TREE_CLONE
constexpr unsigned kRecursive = 0x8000;          // AT_RECURSIVE
constexpr unsigned kFromEmptyPath = 0x00000004;  // MOVE_MOUNT_F_EMPTY_PATH
constexpr unsigned kToEmptyPath = 0x00000040;    // MOVE_MOUNT_T_EMPTY_PATH
constexpr std::uint64_t kReadOnlyMount = 1;      // MOUNT_ATTR_RDONLY

// struct mount_attr, see mount_setattr(2).
struct MountAttributes {
  std::uint64_t set;
  std::uint64_t clear;
  std::uint64_t propagation;
  std::uint64_t user_namespace;
};

}  // namespace

Result<UniqueFd> clone_tree(BorrowedFd object, TreeAccess access) {
  const unsigned flags = kCloneTree | kRecursive | static_cast<unsigned>(O_CLOEXEC) | AT_EMPTY_PATH;
  UniqueFd tree{static_cast<int>(::syscall(kOpenTreeCall, object.get(), "", flags))};
  if (!tree.valid()) {
    return Errno{errno};
  }
  MountAttributes attributes{};
  attributes.set = access == TreeAccess::kReadOnly ? kReadOnlyMount : 0;
  attributes.propagation = MS_PRIVATE;
  if (::syscall(kMountSetattr, tree.borrow().get(), "", AT_EMPTY_PATH | kRecursive, &attributes,
                sizeof attributes) != 0) {
    return Errno{errno};
  }
  return tree;
}

Status attach_tree(BorrowedFd tree, BorrowedFd target) {
  if (::syscall(kMoveMount, tree.get(), "", target.get(), "", kFromEmptyPath | kToEmptyPath) != 0) {
    return Errno{errno};
  }
  return {};
}

}  // namespace plyfs::sys
