// From our words to libfuse's, and back.
#pragma once

#include <fuse_lowlevel.h>

#include "base/file_stat.h"
#include "base/request.h"

namespace plyfs::fuse {

struct stat to_stat(const FileStat& stat);
AttrChange to_change(const struct stat& attributes, int to_set);
struct statvfs to_statvfs(const FilesystemStat& stat);

/// The caller of a request.
RequestContext context_of(fuse_req_t request);

}  // namespace plyfs::fuse
