#include "oci/blob_stream.h"

#include <algorithm>
#include <array>
#include <new>
#include <optional>
#include <utility>

#include "oci/document.h"
#include "sys/file_io.h"
#include "tar/handles.h"

namespace plyfs::oci {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{256} << 10U;
constexpr std::size_t kMostPieces = 8;

}  // namespace

Result<Packing> packing_of(const Extent& blob) {
  std::array<unsigned char, 4> magic{};
  const std::size_t want = static_cast<std::size_t>(
      std::min<std::int64_t>(static_cast<std::int64_t>(magic.size()), blob.size_bytes));
  const std::size_t got = TRY(sys::read_at(blob.file->borrow(), magic.data(), want, blob.offset));
  if (got >= 2 && magic[0] == 0x1f && magic[1] == 0x8b) {
    return Packing::kGzip;
  }
  // A frame, or a frame to be skipped, as zstd:chunked may begin with.
  const bool zstd = magic[0] == 0x28 && magic[1] == 0xb5 && magic[2] == 0x2f && magic[3] == 0xfd;
  const bool skippable =
      (magic[0] & 0xf0U) == 0x50 && magic[1] == 0x2a && magic[2] == 0x4d && magic[3] == 0x18;
  return got == 4 && (zstd || skippable) ? Packing::kZstd : Packing::kPlain;
}

const char* media_type_of(Packing packing) {
  switch (packing) {
    case Packing::kGzip:
      return media::kLayerGzip;
    case Packing::kZstd:
      return media::kLayerZstd;
    case Packing::kPlain:
      break;
  }
  return media::kLayer;
}

/// The blob as it is, piece by piece: read once, hashed and copied on the way.
class BlobStream::Reader {
 public:
  explicit Reader(BlobStream& stream) : stream_(stream), buffer_(kPieceBytes) {}

  Result<std::string_view> next() {
    const Extent& blob = stream_.blob_;
    const auto want = static_cast<std::size_t>(
        std::min<std::int64_t>(blob.size_bytes - at_, static_cast<std::int64_t>(kPieceBytes)));
    const std::size_t got =
        TRY(sys::read_at(blob.file->borrow(), buffer_.data(), want, blob.offset + at_));
    if (got < want) {
      return Errno{EPROTO};  // cut off
    }
    const std::string_view piece{buffer_.data(), got};
    hash_.add(piece);
    if (stream_.copy_to_.valid()) {
      TRY(sys::write_all_at(stream_.copy_to_.borrow(), buffer_.data(), got, at_));
    }
    at_ += static_cast<std::int64_t>(got);
    stream_.budget_.read_bytes += got;
    return piece;
  }
  std::string digest() { return hash_.finish(); }

  Status copy_plain() {
    while (true) {
      const std::string_view piece = TRY(next());
      if (piece.empty()) {
        return {};
      }
      Piece full = stream_.spare();
      std::ranges::copy(piece, full.bytes.begin());
      full.size = piece.size();
      TRY(deliver(std::move(full)));
    }
  }

  Status unpack(Packing packing) {
    const tar::Reader unpacker{archive_read_new()};
    archive* const raw = unpacker.get();
    if (raw == nullptr || archive_read_support_format_raw(raw) != ARCHIVE_OK ||
        archive_read_append_filter(
            raw, packing == Packing::kGzip ? ARCHIVE_FILTER_GZIP : ARCHIVE_FILTER_ZSTD) !=
            ARCHIVE_OK) {
      return Errno{ENOMEM};
    }
    archive_entry* entry = nullptr;
    if (archive_read_open(raw, this, nullptr, on_read, nullptr) != ARCHIVE_OK) {
      return broken();
    }
    const int began = archive_read_next_header(raw, &entry);
    if (began == ARCHIVE_EOF) {
      return {};
    }
    while (began == ARCHIVE_OK) {
      Piece full = stream_.spare();
      const la_ssize_t got = archive_read_data(raw, full.bytes.data(), full.bytes.size());
      if (got <= 0) {
        return got == 0 ? Status{} : broken();
      }
      full.size = static_cast<std::size_t>(got);
      TRY(deliver(std::move(full)));
    }
    return broken();
  }

 private:
  static la_ssize_t on_read(archive* handle, void* user, const void** bytes) {
    auto& self = *static_cast<Reader*>(user);
    const auto piece = self.next();
    if (!piece) {
      self.error_ = piece.error();
      archive_set_error(handle, piece.error().value(), "cannot read");
      return -1;
    }
    *bytes = piece->data();
    return static_cast<la_ssize_t>(piece->size());
  }
  [[nodiscard]] Errno broken() const { return error_.value_or(Errno{EPROTO}); }

  Status deliver(Piece full) {
    if ((stream_.budget_.bytes -= static_cast<std::int64_t>(full.size)) < 0) {
      return Errno{EFBIG};
    }
    return stream_.push(std::move(full)) && !stream_.budget_.stop ? Status{} : Errno{ECANCELED};
  }

  BlobStream& stream_;
  std::vector<char> buffer_;
  std::int64_t at_ = 0;
  image::Sha256 hash_;
  std::optional<Errno> error_;
};

BlobStream::BlobStream(Extent blob, sys::UniqueFd copy_to, Budget& budget)
    : blob_(std::move(blob)),
      copy_to_(std::move(copy_to)),
      budget_(budget),
      packing_(packing_of(blob_).value_or(Packing::kPlain)),  // an error comes back when reading
      thread_([this] { run(); }) {}

BlobStream::~BlobStream() {
  {
    const std::lock_guard lock{mu_};
    given_up_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BlobStream::run() {
  Status done;
  try {
    Reader reader{*this};
    done = packing_ == Packing::kPlain ? reader.copy_plain() : reader.unpack(packing_);
    while (done) {  // what follows the last frame belongs to the blob, too
      const auto piece = reader.next();
      if (!piece) {
        done = piece.error();
      } else if (piece->empty()) {
        break;
      }
    }
    digest_ = reader.digest();
  } catch (const std::bad_alloc&) {
    done = Errno{ENOMEM};
  }
  {
    const std::lock_guard lock{mu_};
    result_ = done;
    ended_ = true;
  }
  changed_.notify_all();
}

BlobStream::Piece BlobStream::spare() {
  {
    const std::lock_guard lock{mu_};
    if (!empty_.empty()) {
      Piece piece = std::move(empty_.back());
      empty_.pop_back();
      return piece;
    }
  }
  return Piece{std::vector<char>(kPieceBytes), 0};
}

/// False when nobody wants it any more.
bool BlobStream::push(Piece piece) {
  {
    std::unique_lock lock{mu_};
    changed_.wait(lock, [this] { return full_.size() < kMostPieces || given_up_; });
    if (given_up_) {
      return false;
    }
    full_.push_back(std::move(piece));
  }
  changed_.notify_all();
  return true;
}

Result<std::string_view> BlobStream::next() {
  {
    std::unique_lock lock{mu_};
    if (!current_.bytes.empty()) {
      empty_.push_back(std::move(current_));
      current_ = {};
    }
    changed_.wait(lock, [this] { return !full_.empty() || ended_; });
    if (full_.empty()) {
      if (!result_) {
        return result_.error();
      }
      if (diff_id_.empty()) {
        diff_id_ = content_hash_.finish();
      }
      return std::string_view{};
    }
    current_ = std::move(full_.front());
    full_.pop_front();
  }
  changed_.notify_all();
  const std::string_view piece{current_.bytes.data(), current_.size};
  content_hash_.add(piece);
  return piece;
}

Status BlobStream::drain() {
  while (!TRY(next()).empty()) {
  }
  return {};
}

Result<std::string> digest_of(const Extent& blob) {
  image::Sha256 hash;
  std::vector<char> buffer(kPieceBytes);
  for (std::int64_t at = 0; at < blob.size_bytes;) {
    const auto want = static_cast<std::size_t>(
        std::min<std::int64_t>(blob.size_bytes - at, static_cast<std::int64_t>(kPieceBytes)));
    const std::size_t got =
        TRY(sys::read_at(blob.file->borrow(), buffer.data(), want, blob.offset + at));
    if (got == 0) {
      break;
    }
    hash.add({buffer.data(), got});
    at += static_cast<std::int64_t>(got);
  }
  return hash.finish();
}

}  // namespace plyfs::oci
