// From our words to libfuse's, and back.
#pragma once

#include <fuse_lowlevel.h>

#include "base/file_stat.h"
#include "ops/filesystem.h"

namespace plyfs::fuse {

struct stat to_stat(const FileStat& stat);
fuse_entry_param to_entry(const ops::Entry& entry, fuse_ino_t id, double timeout_s);
AttrChange to_change(const struct stat& attributes, int to_set);
struct statvfs to_statvfs(const FilesystemStat& stat);

/// The caller of a request.
ops::RequestContext context_of(fuse_req_t request);

}  // namespace plyfs::fuse
