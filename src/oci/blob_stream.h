// A blob read once: its digest, what is in it, and the digest of that.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "image/sha256.h"
#include "oci/source.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::oci {

enum class Packing : std::uint8_t { kPlain, kGzip, kZstd };
/// By its first bytes, whatever its media type says.
Result<Packing> packing_of(const Extent& blob);
/// The media type of OCI for a layer packed like that.
const char* media_type_of(Packing packing);

/// How much may still be unpacked; shared by the layers of an import.
struct Budget {
  std::atomic<std::int64_t> bytes{0};
  std::atomic<std::int64_t> entries{0};
  std::atomic<std::uint64_t> read_bytes{0};  ///< of blobs, so far: for progress
  std::atomic<bool> stop{false};             ///< another layer failed: end soon, with ECANCELED
};

/// A thread of its own reads, copies and unpacks while the caller uses what came before.
class BlobStream {
 public:
  /// `copy_to`, if valid, gets the blob as it is.
  BlobStream(Extent blob, sys::UniqueFd copy_to, Budget& budget);
  ~BlobStream();
  BlobStream(const BlobStream&) = delete;
  BlobStream& operator=(const BlobStream&) = delete;

  /// The next bytes of what is in it, which stay until the next call; none at the end. EPROTO for a
  /// damaged blob, EFBIG when the budget is used up, ECANCELED.
  Result<std::string_view> next();
  /// Reads on to the end, whose digests are then known.
  Status drain();

  [[nodiscard]] Packing packing() const { return packing_; }
  /// "sha256:...", both after the end.
  [[nodiscard]] const std::string& digest() const { return digest_; }
  [[nodiscard]] const std::string& diff_id() const { return diff_id_; }

 private:
  struct Piece {
    std::vector<char> bytes;
    std::size_t size = 0;
  };
  class Reader;
  void run();
  bool push(Piece piece);
  Piece spare();

  const Extent blob_;
  const sys::UniqueFd copy_to_;
  Budget& budget_;
  Packing packing_ = Packing::kPlain;

  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<Piece> full_;    // mu_
  std::vector<Piece> empty_;  // mu_
  bool ended_ = false;        // mu_
  bool given_up_ = false;     // mu_
  Status result_;             // mu_

  Piece current_;
  std::string digest_;   // the thread's until ended_
  std::string diff_id_;  // the caller's
  image::Sha256 content_hash_;
  std::thread thread_;  // last: runs from the end of the constructor
};

/// The digest of all of a blob. Errors of reading it.
Result<std::string> digest_of(const Extent& blob);

}  // namespace plyfs::oci
