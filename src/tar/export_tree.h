// A directory of the host into a tar, with everything that a tar can hold.
#pragma once

#include <functional>
#include <string>

#include "sys/unique_fd.h"
#include "tar/tar_output.h"

namespace plyfs::tar {

struct ExportEvents {
  /// Objects and bytes of contents so far.
  std::function<void(std::uint64_t entries, std::uint64_t bytes)> progress;
  /// A path of what no tar can hold (sockets).
  std::function<void(const std::string& path)> left_out;
};

/// Bytes of contents below `root` that have blocks, as far as they can be read: for progress only.
std::uint64_t content_bytes(sys::BorrowedFd root);

/// Writes what is below `root`, the root itself first. Names are sorted, so the same tree gives the
/// same tar. What vanishes meanwhile is left out; a file that shrinks while it is read is EIO. On
/// an error `at` says where. Does not finish the output.
Status export_tree(sys::BorrowedFd root, TarOutput& output, const ExportEvents& events,
                   std::string& at);

}  // namespace plyfs::tar
