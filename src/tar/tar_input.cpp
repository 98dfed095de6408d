#include "tar/tar_input.h"

#include <utility>

#include "sys/file_io.h"

namespace plyfs::tar {
namespace {

constexpr std::size_t kBlockBytes = 256 * 1024;

}  // namespace

/// An error of the system where there was one, else EPROTO with the library's words.
Errno TarInput::fail() {
  const int error = archive_errno(reader_.get());
  const char* const text = archive_error_string(reader_.get());
  problem_ = text != nullptr ? text : "damaged";
  switch (error) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case EISDIR:
    case EIO:
    case ENOMEM:
      return Errno{error};
    default:
      return Errno{EPROTO};
  }
}

Status TarInput::open(const std::string& path) {
  reader_.reset(archive_read_new());
  if (!reader_) {
    return Errno{ENOMEM};
  }
  archive* const reader = reader_.get();
  if (archive_read_support_format_tar(reader) != ARCHIVE_OK) {
    return fail();
  }
  // ARCHIVE_WARN: by an external program.
  for (const auto support : {archive_read_support_filter_gzip, archive_read_support_filter_bzip2,
                             archive_read_support_filter_xz, archive_read_support_filter_zstd}) {
    if (support(reader) < ARCHIVE_WARN) {
      return fail();
    }
  }
  if (archive_read_open_filename(reader, path.empty() ? nullptr : path.c_str(), kBlockBytes) !=
      ARCHIVE_OK) {
    return fail();
  }
  return {};
}

la_ssize_t TarInput::on_read(archive* handle, void* user, const void** bytes) {
  const auto piece = static_cast<TarInput*>(user)->source_();
  if (!piece) {
    archive_set_error(handle, piece.error().value(), "cannot read");
    return ARCHIVE_FATAL;
  }
  *bytes = piece->data();
  return static_cast<la_ssize_t>(piece->size());
}

Status TarInput::open(Source source) {
  source_ = std::move(source);
  reader_.reset(archive_read_new());
  if (!reader_) {
    return Errno{ENOMEM};
  }
  if (archive_read_support_format_tar(reader_.get()) != ARCHIVE_OK ||
      archive_read_support_format_empty(reader_.get()) != ARCHIVE_OK ||
      archive_read_open(reader_.get(), this, nullptr, on_read, nullptr) != ARCHIVE_OK) {
    return fail();
  }
  return {};
}

Result<archive_entry*> TarInput::next() {
  archive_entry* entry = nullptr;
  const int result = archive_read_next_header(reader_.get(), &entry);
  if (result == ARCHIVE_EOF) {
    // The mark is an empty block. Without it nothing was read after the last object.
    if (archive_filter_bytes(reader_.get(), 0) <= archive_read_header_position(reader_.get())) {
      problem_ = "Truncated tar archive: its end is missing";
      return Errno{EPROTO};
    }
    return static_cast<archive_entry*>(nullptr);
  }
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
    return fail();
  }
  if (static_cast<std::uint64_t>(position()) > most_bytes_) {
    return Errno{EFBIG};
  }
  return entry;
}

Result<TarInput::Piece> TarInput::read() {
  const void* bytes = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  do {
    const int result = archive_read_data_block(reader_.get(), &bytes, &size, &offset);
    if (result == ARCHIVE_EOF) {
      return Piece{};
    }
    if (result != ARCHIVE_OK) {
      return fail();
    }
  } while (size == 0);
  if (static_cast<std::uint64_t>(position()) > most_bytes_) {
    return Errno{EFBIG};
  }
  return Piece{static_cast<const char*>(bytes), size, offset};
}

Status TarInput::copy_to(sys::BorrowedFd file, std::int64_t size_bytes,
                         const std::function<void()>& on_piece) {
  std::int64_t end = 0;
  for (;;) {
    const Piece piece = TRY(read());
    if (piece.size_bytes == 0) {
      return end == size_bytes ? Status{} : sys::resize(file, size_bytes);
    }
    TRY(sys::write_all_at(file, piece.bytes, piece.size_bytes, piece.offset));
    end = piece.offset + static_cast<std::int64_t>(piece.size_bytes);
    on_piece();
  }
}

std::int64_t TarInput::position() const { return archive_filter_bytes(reader_.get(), 0); }

std::uint64_t TarInput::read_bytes() const {
  const auto bytes = archive_filter_bytes(reader_.get(), -1);
  return bytes > 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

}  // namespace plyfs::tar
