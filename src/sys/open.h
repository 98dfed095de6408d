// Opening. Every descriptor is close-on-exec and no last component is ever followed.
#pragma once

#include <sys/types.h>

#include <atomic>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Whether the files of one place can be read without changing their times of access (O_NOATIME).
/// Only their owner may, or CAP_FOWNER. Thread-safe.
struct QuietReads {
  std::atomic<bool> refused{false};  ///< once: then it is not tried again
};

enum class Access : unsigned char { kRead, kReadWrite };

/// What becomes of a directory over which something is mounted.
enum class Mounts : unsigned char {
  kEnter,
  kRefuse,  ///< EXDEV
};

/// Stands for the current directory where a directory is wanted.
inline constexpr BorrowedFd kCurrentDirectory{-100 /* AT_FDCWD */};

/// Opens a path as the user wrote it, following links (layer roots, work directories).
Result<UniqueFd> open_directory_path(const char* path);
/// Anything, as the user wrote it, as a handle (O_PATH).
Result<UniqueFd> open_path(const char* path);
/// What lies at `path` below `root`, across mounts, as a handle. ELOOP for a link on the way.
Result<UniqueFd> open_beneath(BorrowedFd root, const char* path);
/// The same following links, none of which may lead out of `root`: EXDEV.
Result<UniqueFd> open_inside(BorrowedFd root, const char* path);
/// A directory below `dir`, as a handle for *at calls (O_PATH). ENOTDIR, ENOENT, ELOOP for links.
Result<UniqueFd> open_directory_at(BorrowedFd dir, const char* name,
                                   Mounts mounts = Mounts::kEnter);
/// A directory opened for getdents64.
Result<UniqueFd> open_listing(ObjectRef directory);
/// The same two, leaving times of access alone where that is allowed. `known` saves vain tries.
Result<UniqueFd> open_file_quietly(ObjectRef object, QuietReads* known = nullptr);
Result<UniqueFd> open_listing_quietly(ObjectRef directory, QuietReads* known = nullptr,
                                      Mounts mounts = Mounts::kEnter);
/// O_PATH handle of any object, links not followed.
Result<UniqueFd> open_handle(ObjectRef object);
/// O_PATH handle of what a descriptor of any kind has open: holds the inode, opens nothing.
Result<UniqueFd> reopen_handle(BorrowedFd open);
/// A regular file for I/O.
Result<UniqueFd> open_file(ObjectRef object, Access access);
/// O_CREAT|O_EXCL|O_RDWR.
Result<UniqueFd> create_file(BorrowedFd dir, const char* name, mode_t mode);
/// An unnamed file (O_TMPFILE) in `dir`.
Result<UniqueFd> create_unnamed(BorrowedFd dir, mode_t mode);
Result<UniqueFd> duplicate(BorrowedFd fd);

}  // namespace plyfs::sys
