#include "ops/statistics.h"

#include "ops/filesystem.h"

namespace plyfs::ops {

Statistics FileSystem::statistics() {
  using What = CopyUpCounters::What;
  Statistics made;
  made.files_copied = copied_.of(What::kFile);
  made.metadata_copied = copied_.of(What::kMetadata);
  made.files_completed = copied_.of(What::kCompleted);
  made.directories_copied = copied_.of(What::kDirectory);
  made.bytes_copied = copied_.bytes();
  made.upper_changes = f_.writer->changes();
  made.nodes = table_.size();
  made.directory_fds = handles_.statistics();
  made.file_fds = io_.statistics();
  made.listings = listings_.statistics();
  return made;
}

}  // namespace plyfs::ops
