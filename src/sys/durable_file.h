// Small files that survive a crash whole, and locks that end with their process.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

enum class LockKind : unsigned char { kShared, kExclusive };
enum class LockWait : unsigned char { kNo, kYes };

/// Opens a file that serves as a lock; creates it (0600) if need be.
Result<UniqueFd> open_lock_file(const std::string& path);
/// flock(2). EWOULDBLOCK with LockWait::kNo when another has it.
Status lock_file(BorrowedFd file, LockKind kind, LockWait wait);

/// Writes `path` aside, syncs it, renames it over and syncs the directory: readers see the old
/// content or the new.
Status write_durably(const std::string& path, std::string_view content);
/// The same for a file that a user names: a link is followed, and what is there and is no regular
/// file (/dev/null, a fifo) is not replaced: EINVAL.
Status save_durably(const std::string& path, std::string_view content);
/// The whole file; EFBIG above 16 MiB.
Result<std::string> read_file(const std::string& path);
Status sync_directory(const std::string& path);

/// Exchanges two names in one step (RENAME_EXCHANGE). EINVAL where the filesystem cannot.
Status exchange(const std::string& a, const std::string& b);

/// Removes a tree, also where modes of our own directories shut us out. Links are not followed.
/// It is no error if there is none.
Status remove_tree(const std::string& path);

/// `bytes` random bytes in hexadecimal.
Result<std::string> random_hex(std::size_t bytes);

}  // namespace plyfs::sys
