// WORK/index: the copy that all names of a hard-linked lower file share (kernel overlayfs,
// index=on).
#pragma once

#include <optional>
#include <string>

#include "base/file_stat.h"
#include "layer/layer_stack.h"
#include "layer/marks.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::layer {

struct IndexedCopy {
  std::string name;  ///< of its entry
  FileStat stat;
  FileMarks marks;
};

/// The copy of the lower file of this origin (encode_origin()); nullopt when none of its names was
/// ever copied up. Errors: those of asking.
Result<std::optional<IndexedCopy>> find_indexed(sys::BorrowedFd index, const std::string& origin,
                                                Reading reading);
/// The same for `object`, a file of `layer`; nullopt also where its filesystem gives no handles.
Result<std::optional<IndexedCopy>> find_indexed(sys::BorrowedFd index, const Layer& layer,
                                                sys::ObjectRef object, Reading reading);

}  // namespace plyfs::layer
