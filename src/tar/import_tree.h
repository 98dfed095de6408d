// A tar of unknown origin into an empty directory, and nowhere else.
#pragma once

#include <functional>
#include <string>

#include "base/file_stat.h"
#include "sys/unique_fd.h"
#include "tar/tar_input.h"

namespace plyfs::tar {

struct ImportEvents {
  std::function<void(std::uint64_t entries)> progress;
  /// What this user may not restore: a device, an xattr.
  std::function<void(const std::string& path, const std::string& what, Errno error)> left_out;
};

struct ImportLimits {
  std::uint64_t most_bytes = UINT64_MAX;  ///< of the tar without compression; more is EFBIG
  /// Components of a path. Few filesystems and no program's PATH_MAX have use for more, and each
  /// level costs a descriptor while it is filled.
  std::size_t most_depth = 1000;
};

/// Where and why an import failed.
struct ImportTrouble {
  std::string path;    ///< as the archive has it; empty: the archive itself
  std::string remedy;  ///< also says what is wrong where the errno does not
};

/// Unpacks all of `input` into `root`, an empty directory that nobody else changes. Names must be
/// relative and without "..", and no link of the archive is followed, neither on the way to an
/// object nor to the target of a hard link: else EINVAL. A later object replaces an earlier one of
/// its name, but no directory (EISDIR). Owners are set where this user may; where not, suid and
/// sgid bits go. The root gets the attributes of the archive's "./"; without that, owner and mode
/// of `root_default`. Stops at the first error; what is in `root` then is worth nothing.
Status import_tree(TarInput& input, sys::BorrowedFd root, const FileStat& root_default,
                   const ImportLimits& limits, const ImportEvents& events, ImportTrouble& trouble);

}  // namespace plyfs::tar
