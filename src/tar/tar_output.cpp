#include "tar/tar_output.h"

#include <algorithm>
#include <utility>

#include "sys/file_io.h"

namespace plyfs::tar {
namespace {

constexpr long kSecond_ns = 1'000'000'000;
constexpr std::size_t kBufferBytes = 1024 * 1024;

la_ssize_t pass_on(const TarOutput::Sink& sink, archive* handle, std::string_view bytes) {
  const Status written = sink(bytes);
  if (!written) {
    archive_set_error(handle, written.error().value(), "writing");
    return -1;
  }
  return static_cast<la_ssize_t>(bytes.size());
}

}  // namespace

std::optional<Compression> compression_of(const std::string& target) {
  if (target.ends_with(".tar")) {
    return Compression::kNone;
  }
  if (target.ends_with(".tar.gz") || target.ends_with(".tgz")) {
    return Compression::kGzip;
  }
  if (target.ends_with(".tar.zst") || target.ends_with(".tzst")) {
    return Compression::kZstd;
  }
  return std::nullopt;
}

timespec printable_time(timespec time) {
  if (time.tv_sec >= 0 || time.tv_nsec == 0) {
    return time;
  }
  return time.tv_sec == -1 ? timespec{-1, 0} : timespec{time.tv_sec + 1, kSecond_ns - time.tv_nsec};
}

timespec meant_time(timespec time) {
  return time.tv_sec >= 0 || time.tv_nsec == 0
             ? time
             : timespec{time.tv_sec - 1, kSecond_ns - time.tv_nsec};
}

Result<Entry> new_entry(const std::string& path, const FileStat& stat) {
  Entry entry{archive_entry_new()};
  if (!entry) {
    return Errno{ENOMEM};
  }
  const std::string name = path.empty() ? "./" : path + (stat.is_directory() ? "/" : "");
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_mode(entry.get(), stat.mode);
  archive_entry_set_uid(entry.get(), stat.uid);
  archive_entry_set_gid(entry.get(), stat.gid);
  const timespec mtime = printable_time(stat.mtime);
  archive_entry_set_mtime(entry.get(), mtime.tv_sec, mtime.tv_nsec);
  archive_entry_set_size(entry.get(), 0);
  if (stat.type() == kTypeChar || stat.type() == kTypeBlock) {
    archive_entry_set_rdev(entry.get(), stat.rdev);
  }
  return entry;
}

Result<std::unique_ptr<TarOutput>> TarOutput::open(Compression compression, Sink on_tar,
                                                   Sink on_file) {
  std::unique_ptr<TarOutput> output{new TarOutput{std::move(on_tar), std::move(on_file)}};
  TRY(output->start(compression));
  return output;
}

Status TarOutput::start(Compression compression) {
  tar_.reset(archive_write_new());
  if (!tar_) {
    return Errno{ENOMEM};
  }
  TRY(checked(tar_.get(), archive_write_set_format_pax(tar_.get())));
  // One header for xattrs, the one that OCI names and GNU tar reads.
  TRY(checked(tar_.get(),
              archive_write_set_format_option(tar_.get(), "pax", "xattrheader", "SCHILY")));
  (void)archive_write_set_bytes_per_block(tar_.get(), kBufferBytes);
  (void)archive_write_set_bytes_in_last_block(tar_.get(), 512);
  if (compression != Compression::kNone) {
    TRY(start_packer(compression));
  }
  return checked(tar_.get(), archive_write_open(tar_.get(), this, nullptr, on_tar, nullptr));
}

/// A second archive, of the "raw" format, that only compresses: so both streams can be looked at.
Status TarOutput::start_packer(Compression compression) {
  packer_.reset(archive_write_new());
  if (!packer_) {
    return Errno{ENOMEM};
  }
  archive* const packer = packer_.get();
  TRY(checked(packer, archive_write_set_format_raw(packer)));
  if (compression == Compression::kGzip) {
    TRY(checked(packer, archive_write_add_filter_gzip(packer)));
    // The same tree gives the same bytes, whenever it is packed.
    TRY(checked(packer, archive_write_set_filter_option(packer, "gzip", "timestamp", nullptr)));
  } else {
    TRY(checked(packer, archive_write_add_filter_zstd(packer)));
  }
  (void)archive_write_set_bytes_per_block(packer, 0);
  TRY(checked(packer, archive_write_open(packer, this, nullptr, on_packed, nullptr)));
  const Entry entry{archive_entry_new()};
  archive_entry_set_pathname(entry.get(), "data");
  archive_entry_set_filetype(entry.get(), kTypeRegular);
  return checked(packer, archive_write_header(packer, entry.get()));
}

la_ssize_t TarOutput::on_tar(archive* handle, void* user, const void* bytes, std::size_t size) {
  auto& self = *static_cast<TarOutput*>(user);
  const std::string_view text{static_cast<const char*>(bytes), size};
  if (self.on_tar_ && pass_on(self.on_tar_, handle, text) < 0) {
    return -1;
  }
  if (!self.packer_) {
    return pass_on(self.on_file_, handle, text);
  }
  if (archive_write_data(self.packer_.get(), bytes, size) < 0) {
    archive_set_error(handle, error_of(self.packer_.get()).value(), "compressing");
    return -1;
  }
  return static_cast<la_ssize_t>(size);
}

la_ssize_t TarOutput::on_packed(archive* handle, void* user, const void* bytes, std::size_t size) {
  return pass_on(static_cast<TarOutput*>(user)->on_file_, handle,
                 {static_cast<const char*>(bytes), size});
}

Status TarOutput::write_header(archive_entry* entry) {
  // A warning is a name that the locale has no characters for: it is written as bytes.
  const int result = archive_write_header(tar_.get(), entry);
  return result == ARCHIVE_OK || result == ARCHIVE_WARN ? Status{} : Status{error_of(tar_.get())};
}

Status TarOutput::write_range(sys::BorrowedFd data, Extent range, const Progress& progress) {
  if (!buffer_) {
    buffer_ = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  }
  while (range.begin < range.end) {
    const std::size_t wanted =
        std::min(kBufferBytes, static_cast<std::size_t>(range.end - range.begin));
    const std::size_t got = TRY(sys::read_at(data, buffer_.get(), wanted, range.begin));
    if (got == 0) {
      return Errno{EIO};
    }
    if (archive_write_data(tar_.get(), buffer_.get(), got) < 0) {
      return error_of(tar_.get());
    }
    range.begin += static_cast<std::int64_t>(got);
    progress(got);
  }
  return {};
}

/// libarchive wants the holes, too, and drops them by the map that is in the header.
Status TarOutput::skip(std::int64_t bytes) {
  if (!zeros_) {
    zeros_ = std::make_unique<char[]>(kBufferBytes);
  }
  while (bytes > 0) {
    const std::size_t piece = std::min(kBufferBytes, static_cast<std::size_t>(bytes));
    if (archive_write_data(tar_.get(), zeros_.get(), piece) < 0) {
      return error_of(tar_.get());
    }
    bytes -= static_cast<std::int64_t>(piece);
  }
  return {};
}

Status TarOutput::write_data(sys::BorrowedFd data, std::int64_t size_bytes,
                             const std::vector<Extent>& extents, const Progress& progress) {
  if (extents.empty()) {
    return write_range(data, {0, size_bytes}, progress);
  }
  std::int64_t at = 0;
  for (const Extent& extent : extents) {
    TRY(skip(extent.begin - at));
    TRY(write_range(data, extent, progress));
    at = extent.end;
  }
  return skip(size_bytes - at);
}

Status TarOutput::finish() {
  TRY(checked(tar_.get(), archive_write_close(tar_.get())));
  return packer_ ? checked(packer_.get(), archive_write_close(packer_.get())) : Status{};
}

}  // namespace plyfs::tar
