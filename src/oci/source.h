// What an image comes in, as named runs of bytes: a directory, a tar, or a stream.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "oci/document.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::oci {

/// A run of bytes in an open file.
struct Extent {
  std::shared_ptr<const sys::UniqueFd> file;
  std::int64_t offset = 0;
  std::int64_t size_bytes = 0;
};

/// Guarded by caller.
class Source {
 public:
  struct Limits {
    std::uint64_t bytes = 0;  ///< of what is put aside from a stream
    std::size_t members = 0;
  };
  /// `path` is a directory, a tar, a compressed tar, or "-" for standard input. What cannot be read
  /// in any order is put aside in `scratch`, a directory for nobody else, as files without a name.
  /// EPROTO: no archive, or a damaged one; `why` says what is wrong.
  static Result<Source> open(const std::string& path, const std::string& scratch, Limits limits,
                             Why why);

  /// ENOENT. No name leads out of a directory; the links of a tar are followed within it.
  [[nodiscard]] Result<Extent> find(const std::string& name) const;
  /// A document, whole.
  [[nodiscard]] Result<std::string> read_document(const std::string& name) const;
  [[nodiscard]] bool has(const std::string& name) const { return find(name).has_value(); }

 private:
  class TarScan;
  std::string directory_;  ///< empty: members_ is all there is
  std::map<std::string, Extent> members_;
  std::map<std::string, std::string> links_;
};

/// All of a document's bytes. E2BIG when it is longer than any image's.
Result<std::string> read_extent(const Extent& extent);

/// A regular file by its path, from its first byte.
Result<Extent> open_extent(const std::string& path);

}  // namespace plyfs::oci
