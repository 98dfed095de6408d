// Answering large READs of volumes without a buffer between the file and the kernel.
#pragma once

#include <fuse_lowlevel.h>

#include <cstddef>

#include "sys/unique_fd.h"

namespace plyfs::fuse {

/// True when the request has been answered, and is gone. False changes nothing: it is to be
/// answered in the ordinary way, which also knows what went wrong.
bool reply_spliced(fuse_req_t request, sys::BorrowedFd file, std::size_t size_bytes, off_t offset);

/// From here on it is worth it.
inline constexpr std::size_t kLeastSpliced = 64 * 1024;

}  // namespace plyfs::fuse
