// Changes of directories: names in, names out.
#pragma once

#include <sys/types.h>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

Status make_directory(BorrowedFd dir, const char* name, mode_t mode);
Status make_node(BorrowedFd dir, const char* name, mode_t mode, dev_t device);
Status make_symlink(const char* target, BorrowedFd dir, const char* name);
/// Hard link; links are not followed. An ObjectRef by fd needs /proc (unprivileged form).
Status make_link(ObjectRef from, BorrowedFd dir, const char* name);
Status unlink_file(BorrowedFd dir, const char* name);
Status remove_directory(BorrowedFd dir, const char* name);
/// renameat2(2) with RENAME_* flags.
Status rename_entry(BorrowedFd from_dir, const char* from, BorrowedFd to_dir, const char* to,
                    unsigned flags);

inline constexpr unsigned kRenameNoReplace = 1;
inline constexpr unsigned kRenameExchange = 2;
inline constexpr unsigned kRenameWhiteout = 4;

}  // namespace plyfs::sys
