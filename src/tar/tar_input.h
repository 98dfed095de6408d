// Reading a tar of unknown origin: uncompressed, gzip, bzip2, xz or zstd.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "sys/unique_fd.h"
#include "tar/handles.h"

namespace plyfs::tar {

/// Guarded by caller.
class TarInput {
 public:
  /// Opens `path`; empty: standard input. ENOENT, EACCES ...; EPROTO (see problem()) when it is no
  /// tar.
  Status open(const std::string& path);

  /// The next bytes of an uncompressed tar, which stay until the next call; none at its end.
  using Source = std::function<Result<std::string_view>()>;
  Status open(Source source);

  /// More than this much of uncompressed tar is EFBIG: what a small file yields has no other end.
  void set_limit(std::uint64_t bytes) { most_bytes_ = bytes; }

  /// The next header, or null at the end. The end is believed only if the archive says so by its
  /// end-of-archive mark: a tar that was cut between two objects is EPROTO.
  Result<archive_entry*> next();

  /// The next piece of the present entry's content; `size_bytes` 0 at its end.
  struct Piece {
    const char* bytes = nullptr;
    std::size_t size_bytes = 0;
    std::int64_t offset = 0;
  };
  Result<Piece> read();
  /// The whole content into an empty file, holes left out; `on_piece` after each write.
  Status copy_to(sys::BorrowedFd file, std::int64_t size_bytes,
                 const std::function<void()>& on_piece);

  /// Where in the uncompressed tar the content of the present entry begins, or goes on.
  [[nodiscard]] std::int64_t position() const;
  /// Bytes of the file as it is (compressed) that were read so far.
  [[nodiscard]] std::uint64_t read_bytes() const;
  /// What is wrong with the archive, for people; after EPROTO.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  Errno fail();
  static la_ssize_t on_read(archive* handle, void* user, const void** bytes);

  Source source_;
  Reader reader_;
  std::uint64_t most_bytes_ = UINT64_MAX;
  std::string problem_;
};

}  // namespace plyfs::tar
