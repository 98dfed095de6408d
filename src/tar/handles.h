// libarchive's handles with owners, and what its errors say.
#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <memory>

#include "plyfs/result.h"

namespace plyfs::tar {

struct WriteFree {
  void operator()(archive* handle) const { (void)archive_write_free(handle); }
};
struct ReadFree {
  void operator()(archive* handle) const { (void)archive_read_free(handle); }
};
struct EntryFree {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using Writer = std::unique_ptr<archive, WriteFree>;
using Reader = std::unique_ptr<archive, ReadFree>;
using Entry = std::unique_ptr<archive_entry, EntryFree>;

/// The errno of the last failure; EIO where libarchive has none.
inline Errno error_of(archive* handle) {
  const int error = archive_errno(handle);
  return Errno{error > 0 ? error : EIO};
}

inline Status checked(archive* handle, int result) {
  return result == ARCHIVE_OK ? Status{} : Status{error_of(handle)};
}

}  // namespace plyfs::tar
