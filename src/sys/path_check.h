// What a directory that a user named is, and where it lies. Nothing is changed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/file_stat.h"
#include "plyfs/result.h"

namespace plyfs::sys {

/// Which object it is, under whichever name.
struct FileIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// What must be possible in the directory, for the effective user.
enum class DirectoryUse : unsigned char {
  kMountOn,  ///< search
  kRead,     ///< list and search
  kWrite,    ///< list, search and change (EROFS on a read-only filesystem)
};

struct DirectoryFacts {
  /// The directory itself, then its ancestors up to the root of its mount: what lies across a
  /// mount point is not seen through a layer. Ends early where `..` is not searchable.
  std::vector<FileIdentity> chain;
  std::uint64_t mount_id = 0;  ///< 0 where the kernel does not tell (before 5.8)
  std::uint64_t filesystem_magic = 0;

  [[nodiscard]] const FileIdentity& identity() const { return chain.front(); }
};

/// Follows links; the path is resolved by the kernel only.
/// Errors: ENOENT, ENOTDIR, EACCES, EROFS, ENOTCONN (a dead FUSE mount), others of open(2).
Result<DirectoryFacts> inspect_directory(const std::string& path, DirectoryUse use);

/// Whether the directory or one above it, up to the root of the tree, is as `wanted` says. Mount
/// points are crossed; what cannot be asked is not.
bool any_ancestor(const std::string& path, const std::function<bool(const FileStat&)>& wanted);

/// access(2) with the effective ids; `path` may be anything.
Status check_writable(const std::string& path);

/// ext4, tmpfs, ... or the number in hexadecimal.
std::string filesystem_name(std::uint64_t magic);

}  // namespace plyfs::sys
