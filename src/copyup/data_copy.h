// Copying a file's data: reflink, else in-kernel copy of the data ranges, else read and write.
#pragma once

#include <cstdint>

#include "layer/upper_writer.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::copyup {

/// Whether the copy will be synced at once.
enum class SyncFollows : bool { kNo, kYes };

/// Copies the first `size_bytes` of `from` into the empty file `to` and gives it that size. Holes
/// stay holes (plain copy_file_range would fill them on ext4 and tmpfs).
/// With `sync` the disk begins to write while the rest is still being copied; syncing remains the
/// caller's (D-056). Errors: EIO, ENOSPC, EDQUOT...; `to` is then worthless.
Status copy_data(layer::UpperWriter& writer, sys::BorrowedFd from, sys::BorrowedFd to,
                 std::int64_t size_bytes, SyncFollows sync);

}  // namespace plyfs::copyup
