#include "image/tar_writer.h"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>

#include "image/sha256.h"
#include "image/target_file.h"
#include "layer/format.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"

namespace plyfs::image {
namespace {

constexpr std::size_t kBufferBytes = 1024 * 1024;

struct ArchiveFree {
  void operator()(archive* handle) const { (void)archive_write_free(handle); }
};
struct EntryFree {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using Archive = std::unique_ptr<archive, ArchiveFree>;
using Entry = std::unique_ptr<archive_entry, EntryFree>;

Errno error_of(archive* handle) {
  const int error = archive_errno(handle);
  return Errno{error > 0 ? error : EIO};
}

/// A time as libarchive (3.6) writes it rightly: it prints the seconds and the fraction each by
/// itself, so that 5 s before 1970 and a quarter more (-5, 0.25) would become -5.25 instead of
/// -4.75. In the last second before 1970 the seconds would be -0; its fraction is left out.
timespec printable_time(timespec time) {
  constexpr long kSecond_ns = 1'000'000'000;
  if (time.tv_sec >= 0 || time.tv_nsec == 0) {
    return time;
  }
  return time.tv_sec == -1 ? timespec{-1, 0} : timespec{time.tv_sec + 1, kSecond_ns - time.tv_nsec};
}

/// Two archives in a row: the tar, and, where it is compressed, a "raw" one that only compresses.
class TarWriter final : public TreeWriter {
 public:
  explicit TarWriter(TargetFile file) : file_(std::move(file)) {}

  Status start(Compression compression) {
    tar_.reset(archive_write_new());
    if (!tar_) {
      return Errno{ENOMEM};
    }
    TRY(check(tar_.get(), archive_write_set_format_pax(tar_.get())));
    // One header for xattrs, the one that OCI names.
    TRY(check(tar_.get(),
              archive_write_set_format_option(tar_.get(), "pax", "xattrheader", "SCHILY")));
    (void)archive_write_set_bytes_per_block(tar_.get(), kBufferBytes);
    (void)archive_write_set_bytes_in_last_block(tar_.get(), 512);
    if (compression != Compression::kNone) {
      TRY(start_packer(compression));
    }
    return check(tar_.get(), archive_write_open(tar_.get(), this, nullptr, on_tar, nullptr));
  }

  Status add(const View& view, const std::string& path, const Object& object) override {
    const FileStat& stat = object.stat;
    if (stat.type() == kTypeSocket) {
      written_.left_out.push_back(path);
      return {};
    }
    const Entry entry = TRY(new_entry(path, stat));
    for (const auto& [name, value] : TRY(public_xattrs(object))) {
      archive_entry_xattr_add_entry(entry.get(), name.c_str(), value.data(), value.size());
    }
    if (stat.is_symlink()) {
      archive_entry_set_symlink(entry.get(), TRY(sys::read_link(object.ref())).c_str());
    }
    if (!stat.is_regular()) {
      return write_header(entry.get());
    }
    const sys::UniqueFd data = TRY(view.open_data(object));
    archive_entry_set_size(entry.get(), stat.size_bytes);
    TRY(write_header(entry.get()));
    return write_data(data.borrow(), stat.size_bytes);
  }

  Status add_link(const std::string& path, const std::string& target,
                  const Object& object) override {
    const Entry entry = TRY(new_entry(path, object.stat));
    archive_entry_set_hardlink(entry.get(), target.c_str());
    archive_entry_set_size(entry.get(), 0);
    return write_header(entry.get());
  }

  Status add_whiteout(const std::string& path) override {
    const std::size_t slash = path.rfind('/');
    const std::string above = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    return add_mark(above + layer::aufs_whiteout_name(path.substr(slash + 1)));
  }

  Status add_opaque(const std::string& directory) override {
    return add_mark(directory.empty() ? layer::kAufsOpaqueName
                                      : directory + '/' + layer::kAufsOpaqueName);
  }

  Status finish() override {
    TRY(check(tar_.get(), archive_write_close(tar_.get())));
    if (packer_) {
      TRY(check(packer_.get(), archive_write_close(packer_.get())));
    }
    written_.diff_id = diff_id_.finish();
    written_.digest = packer_ ? digest_.finish() : written_.diff_id;
    written_.size_bytes = file_.size_bytes();
    return file_.publish();
  }

 private:
  static Status check(archive* handle, int result) {
    return result == ARCHIVE_OK ? Status{} : Status{error_of(handle)};
  }

  Status start_packer(Compression compression) {
    packer_.reset(archive_write_new());
    if (!packer_) {
      return Errno{ENOMEM};
    }
    archive* const packer = packer_.get();
    TRY(check(packer, archive_write_set_format_raw(packer)));
    if (compression == Compression::kGzip) {
      TRY(check(packer, archive_write_add_filter_gzip(packer)));
      // The same tree gives the same bytes, whenever it is packed.
      TRY(check(packer, archive_write_set_filter_option(packer, "gzip", "timestamp", nullptr)));
    } else {
      TRY(check(packer, archive_write_add_filter_zstd(packer)));
    }
    (void)archive_write_set_bytes_per_block(packer, 0);
    TRY(check(packer, archive_write_open(packer, this, nullptr, on_packed, nullptr)));
    const Entry entry{archive_entry_new()};
    archive_entry_set_pathname(entry.get(), "data");
    archive_entry_set_filetype(entry.get(), kTypeRegular);
    return check(packer, archive_write_header(packer, entry.get()));
  }

  static la_ssize_t on_tar(archive* handle, void* user, const void* bytes, std::size_t size) {
    auto& self = *static_cast<TarWriter*>(user);
    const std::string_view text{static_cast<const char*>(bytes), size};
    self.diff_id_.add(text);
    if (self.packer_) {
      const la_ssize_t taken = archive_write_data(self.packer_.get(), bytes, size);
      if (taken < 0) {
        archive_set_error(handle, error_of(self.packer_.get()).value(), "compressing");
        return -1;
      }
      return static_cast<la_ssize_t>(size);
    }
    return self.put(handle, text);
  }

  static la_ssize_t on_packed(archive* handle, void* user, const void* bytes, std::size_t size) {
    auto& self = *static_cast<TarWriter*>(user);
    const std::string_view text{static_cast<const char*>(bytes), size};
    self.digest_.add(text);
    return self.put(handle, text);
  }

  la_ssize_t put(archive* handle, std::string_view bytes) {
    const Status written = file_.write(bytes);
    if (!written) {
      archive_set_error(handle, written.error().value(), "writing");
      return -1;
    }
    return static_cast<la_ssize_t>(bytes.size());
  }

  static Result<Entry> new_entry(const std::string& path, const FileStat& stat) {
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

  Status write_header(archive_entry* entry) {
    // A warning is a name that the locale has no characters for: it is written as bytes.
    const int result = archive_write_header(tar_.get(), entry);
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
      return error_of(tar_.get());
    }
    ++written_.entries;
    return {};
  }

  /// Exactly `size_bytes`: the header has promised them. EIO when the file is shorter now.
  Status write_data(sys::BorrowedFd data, std::int64_t size_bytes) {
    if (!buffer_) {
      buffer_ = std::make_unique_for_overwrite<char[]>(kBufferBytes);
    }
    for (std::int64_t at = 0; at < size_bytes;) {
      const std::size_t wanted = std::min(kBufferBytes, static_cast<std::size_t>(size_bytes - at));
      const std::size_t got = TRY(sys::read_at(data, buffer_.get(), wanted, at));
      if (got == 0) {
        return Errno{EIO};
      }
      if (archive_write_data(tar_.get(), buffer_.get(), got) < 0) {
        return error_of(tar_.get());
      }
      at += static_cast<std::int64_t>(got);
      written_.bytes += got;
    }
    return {};
  }

  Status add_mark(const std::string& path) {
    FileStat stat;
    stat.mode = kTypeRegular | 0444;
    const Entry entry = TRY(new_entry(path, stat));
    return write_header(entry.get());
  }

  TargetFile file_;
  Sha256 diff_id_;
  Sha256 digest_;
  std::unique_ptr<char[]> buffer_;
  Archive packer_;
  Archive tar_;  ///< freed first: closing it writes into the packer
};

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

Result<std::unique_ptr<TreeWriter>> make_tar_writer(const std::string& target,
                                                    Compression compression) {
  auto writer = std::make_unique<TarWriter>(TRY(TargetFile::create(target)));
  TRY(writer->start(compression));
  return std::unique_ptr<TreeWriter>{std::move(writer)};
}

}  // namespace plyfs::image
