// Reading the private marks of one object in one layer, in every family.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "layer/format.h"
#include "plyfs/result.h"
#include "sys/owner_access.h"
#include "sys/unique_fd.h"

namespace plyfs::layer {

struct DirMarks {
  bool opaque = false;              ///< nothing below is looked at
  const char* opaque_by = nullptr;  ///< name of the mark that says so
  bool xwhiteouts = false;          ///< opaque=x: zero-size files in it may be whiteouts
  bool impure = false;              ///< holds copied-up entries: their marks must be asked for
  std::string redirect;      ///< where the layers below hold this directory; empty = same place
  bool by_user = false;      ///< the redirect is in user.*
  bool passed_over = false;  ///< there are marks in user.* that this mount does not read
};

struct FileMarks {
  bool metacopy = false;  ///< data lies in a layer below
  bool origin = false;
  std::string redirect;
  std::optional<std::string> nlink;  ///< "U+1", "L-2": kernel index=on
  std::optional<std::uint64_t> shown_ino;
  bool by_user = false;      ///< metacopy or redirect is in user.*
  bool passed_over = false;  ///< there are marks in user.* that this mount does not read
};

/// Errors: every failure to read a mark that is there (EIO, EACCES...) is returned, so that a
/// deleted file cannot come back because a question failed. Cost: one listxattr when unmarked.
struct Reading {
  bool user = true;  ///< MarkRules::user
  /// An object of the upper layer whose mode (0000) keeps its own daemon from reading the user.*
  /// marks is opened up for that moment; lower layers are never touched.
  bool lift_mode = false;
};
template <typename Read>
auto as_wanted(sys::ObjectRef object, Reading reading, Read read) -> decltype(read()) {
  return reading.lift_mode ? sys::with_owner_access(object, read) : read();
}
Result<DirMarks> read_dir_marks(sys::ObjectRef directory, Reading reading);
Result<FileMarks> read_file_marks(sys::ObjectRef file, Reading reading);
/// Whether a zero-size file is an xattr whiteout.
Result<bool> is_xattr_whiteout(sys::ObjectRef file, Reading reading);

}  // namespace plyfs::layer
