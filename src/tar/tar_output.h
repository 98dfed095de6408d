// A PAX tar as a stream, compressed or not.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_stat.h"
#include "sys/unique_fd.h"
#include "tar/handles.h"

namespace plyfs::tar {

enum class Compression : std::uint8_t { kNone, kGzip, kZstd };

/// By the end of a file's name: .tar, .tar.gz (.tgz), .tar.zst (.tzst); nullopt for other names.
std::optional<Compression> compression_of(const std::string& target);

/// A time as libarchive (3.6) writes it rightly: it prints the seconds and the fraction each by
/// itself, so that 5 s before 1970 and a quarter more (-5, 0.25) would become -5.25 instead of
/// -4.75. In the last second before 1970 the seconds would be -0; its fraction is left out.
timespec printable_time(timespec time);
/// The time that was meant, of what libarchive read in the same way.
timespec meant_time(timespec time);

/// A header of `path` ("" is the root) with type, mode, owner, mtime and device; no size.
Result<Entry> new_entry(const std::string& path, const FileStat& stat);

/// Part of a file that has data, in bytes.
struct Extent {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Numeric owners, nanoseconds, SCHILY.xattr. Guarded by caller; does not move.
class TarOutput {
 public:
  using Sink = std::function<Status(std::string_view)>;
  /// Told how many bytes of contents were written, after each piece.
  using Progress = std::function<void(std::size_t)>;

  /// `on_tar` sees the tar before compression and may be empty; `on_file` gets what is written.
  static Result<std::unique_ptr<TarOutput>> open(Compression compression, Sink on_tar,
                                                 Sink on_file);
  TarOutput(const TarOutput&) = delete;
  TarOutput& operator=(const TarOutput&) = delete;

  Status write_header(archive_entry* entry);
  /// The content that the header has promised, to the byte. Only `extents` are read, if there are
  /// any: the rest are the holes that the header names. EIO when the file is shorter now.
  Status write_data(sys::BorrowedFd data, std::int64_t size_bytes,
                    const std::vector<Extent>& extents, const Progress& progress);
  /// Writes the end; nothing may follow.
  Status finish();

 private:
  TarOutput(Sink on_tar, Sink on_file) : on_tar_(std::move(on_tar)), on_file_(std::move(on_file)) {}
  Status start(Compression compression);
  Status start_packer(Compression compression);
  Status write_range(sys::BorrowedFd data, Extent range, const Progress& progress);
  Status skip(std::int64_t bytes);
  static la_ssize_t on_tar(archive* handle, void* user, const void* bytes, std::size_t size);
  static la_ssize_t on_packed(archive* handle, void* user, const void* bytes, std::size_t size);

  Sink on_tar_;
  Sink on_file_;
  std::unique_ptr<char[]> buffer_;
  std::unique_ptr<char[]> zeros_;
  Writer packer_;
  Writer tar_;  ///< freed first: closing it writes into the packer
};

}  // namespace plyfs::tar
