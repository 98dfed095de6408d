// Where a tree is written to: a tar or a directory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "image/object.h"
#include "plyfs/mount.h"
#include "plyfs/result.h"

namespace plyfs::image {

/// What went wrong, and on which path.
struct WriteError {
  std::string what;
  std::string path;
  Errno error{EIO};
};

struct Written {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;            ///< of file contents
  std::uint64_t size_bytes = 0;       ///< of the finished tar
  std::string digest;                 ///< "sha256:..." of the file as it is; tar only
  std::string diff_id;                ///< of the tar without compression
  std::vector<std::string> left_out;  ///< paths of sockets, which no tar can hold
};

/// Paths are relative to the root; "" is the root itself. Parents come before children. Guarded by
/// caller. Nothing is visible under the target's name before finish().
class TreeWriter {
 public:
  TreeWriter() = default;
  TreeWriter(const TreeWriter&) = delete;
  TreeWriter& operator=(const TreeWriter&) = delete;
  virtual ~TreeWriter() = default;
  /// A directory or anything else that is no further link.
  virtual Status add(const View& view, const std::string& path, const Object& object) = 0;
  virtual Status add_link(const std::string& path, const std::string& target,
                          const Object& object) = 0;
  [[nodiscard]] virtual bool holds_sockets() const { return true; }
  virtual Status add_whiteout(const std::string& path) = 0;
  virtual Status add_opaque(const std::string& directory) = 0;
  virtual Status finish() = 0;
  [[nodiscard]] const Written& written() const { return written_; }

 protected:
  Written written_;
};

/// Told after each entry; for progress bars.
using Progress = std::function<void(const Written&)>;

}  // namespace plyfs::image
