#include "sys/dir_ops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "sys/checked.h"
#include "sys/proc_path.h"

namespace plyfs::sys {
namespace {

static_assert(kRenameNoReplace == RENAME_NOREPLACE && kRenameExchange == RENAME_EXCHANGE &&
              kRenameWhiteout == RENAME_WHITEOUT);

}  // namespace

Status make_directory(BorrowedFd dir, const char* name, mode_t mode) {
  return checked(::mkdirat(dir.get(), name, mode));
}

Status make_node(BorrowedFd dir, const char* name, mode_t mode, dev_t device) {
  return checked(::mknodat(dir.get(), name, mode, device));
}

Status make_symlink(const char* target, BorrowedFd dir, const char* name) {
  return checked(::symlinkat(target, dir.get(), name));
}

Status make_link(ObjectRef from, BorrowedFd dir, const char* name) {
  if (from.by_fd()) {
    return checked(::linkat(AT_FDCWD, ProcPath{from}.c_str(), dir.get(), name, AT_SYMLINK_FOLLOW));
  }
  return checked(::linkat(from.dir.get(), from.name, dir.get(), name, 0));
}

Status unlink_file(BorrowedFd dir, const char* name) {
  return checked(::unlinkat(dir.get(), name, 0));
}

Status remove_directory(BorrowedFd dir, const char* name) {
  return checked(::unlinkat(dir.get(), name, AT_REMOVEDIR));
}

Status rename_entry(BorrowedFd from_dir, const char* from, BorrowedFd to_dir, const char* to,
                    unsigned flags) {
  return checked(::renameat2(from_dir.get(), from, to_dir.get(), to, flags));
}

}  // namespace plyfs::sys
