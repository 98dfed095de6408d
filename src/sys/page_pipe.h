// A pipe that carries pages of a file's cache to /dev/fuse: one copy less than by a buffer.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Of one thread.
class PagePipe {
 public:
  static constexpr std::size_t kMostBytes = 1024 * 1024 - 4096;  ///< and a page for a header

  /// EPERM or ENFILE where pipes are limited (pipe(7)).
  static Result<PagePipe> make();
  /// Writes one message: `header`, then `size_bytes` of `file`. False when that was not possible
  /// for any reason, or when the file is shorter by the time its pages are in the pipe. The pipe is
  /// then of no more use. The message may be sent again in another way: a second reply to a request
  /// does nothing (ENOENT).
  bool send(int device, const iovec& header, BorrowedFd file, std::int64_t offset,
            std::size_t size_bytes);

 private:
  PagePipe(UniqueFd out, UniqueFd in) : out_(std::move(out)), in_(std::move(in)) {}
  UniqueFd out_;
  UniqueFd in_;
};

}  // namespace plyfs::sys
