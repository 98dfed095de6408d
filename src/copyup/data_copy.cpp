#include "copyup/data_copy.h"

#include <algorithm>
#include <memory>

#include "sys/file_io.h"

namespace plyfs::copyup {
namespace {

constexpr std::size_t kBufferBytes = 512 * 1024;
/// A filesystem's block: less cannot hold a hole, nor be shared.
constexpr std::int64_t kSmallBytes = 4096;
constexpr std::int64_t kRangeBytes = 256LL * 1024 * 1024;
/// What the disk gets at once. From 2 to 16 MiB there was no difference.
constexpr std::int64_t kSyncedRangeBytes = 4LL * 1024 * 1024;

class RangeCopier {
 public:
  RangeCopier(layer::UpperWriter& writer, sys::BorrowedFd from, sys::BorrowedFd to,
              SyncFollows sync)
      : writer_(writer), from_(from), to_(to), sync_(sync) {}

  Status copy(std::int64_t begin, std::int64_t end) {
    std::int64_t unsent_bytes = 0;  // before `begin`, and not yet on their way to the disk
    while (begin < end) {
      const std::size_t copied = TRY(copy_some(begin, end));
      if (copied == 0) {
        return {};  // the source ends early; the final resize leaves a hole
      }
      begin += static_cast<std::int64_t>(copied);
      unsent_bytes += static_cast<std::int64_t>(copied);
      if (sync_ == SyncFollows::kYes && unsent_bytes >= kSyncedRangeBytes) {
        sys::start_writeback(to_, begin - unsent_bytes, unsent_bytes);
        unsent_bytes = 0;
      }
    }
    return {};
  }

  /// A small file, by a buffer on the stack.
  Status copy_through(std::int64_t size_bytes) {
    char buffer[kSmallBytes];
    const std::size_t got =
        TRY(sys::read_at(from_, buffer, static_cast<std::size_t>(size_bytes), 0));
    TRY(writer_.write_all_at(to_, buffer, got, 0));
    return got < static_cast<std::size_t>(size_bytes) ? writer_.resize(to_, size_bytes) : Status{};
  }

 private:
  Result<std::size_t> copy_some(std::int64_t begin, std::int64_t end) {
    if (in_kernel_) {
      const auto wanted = static_cast<std::size_t>(
          std::min(end - begin, sync_ == SyncFollows::kYes ? kSyncedRangeBytes : kRangeBytes));
      auto copied = writer_.copy_range(from_, begin, to_, begin, wanted);
      if (copied ||
          (copied.error() != EXDEV && copied.error() != EINVAL && copied.error() != EOPNOTSUPP &&
           copied.error() != ENOSYS && copied.error() != EPERM)) {
        return copied;
      }
      in_kernel_ = false;
    }
    if (!buffer_) {
      buffer_ = std::make_unique_for_overwrite<char[]>(kBufferBytes);
    }
    const auto wanted = std::min(kBufferBytes, static_cast<std::size_t>(end - begin));
    const std::size_t got = TRY(sys::read_at(from_, buffer_.get(), wanted, begin));
    if (got == 0) {
      return got;
    }
    TRY(writer_.write_all_at(to_, buffer_.get(), got, begin));
    return got;
  }

  layer::UpperWriter& writer_;
  sys::BorrowedFd from_;
  sys::BorrowedFd to_;
  const SyncFollows sync_;
  bool in_kernel_ = true;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace

Status copy_data(layer::UpperWriter& writer, sys::BorrowedFd from, sys::BorrowedFd to,
                 std::int64_t size_bytes, SyncFollows sync) {
  RangeCopier copier{writer, from, to, sync};
  if (size_bytes <= kSmallBytes) {
    // Two calls, where asking for a clone and for holes takes more.
    return copier.copy_through(size_bytes);
  }
  if (writer.clone_file(from, to)) {
    return writer.resize(to, size_bytes);
  }
  std::int64_t at = 0;
  while (at < size_bytes) {
    const auto data = sys::seek(from, at, sys::kSeekData);
    if (!data && data.error() == ENXIO) {
      break;  // only a hole is left
    }
    if (!data && data.error() != EINVAL) {
      return data.error();
    }
    const std::int64_t begin = data ? *data : at;  // EINVAL: no SEEK_DATA here, all is data
    if (begin >= size_bytes) {
      break;
    }
    const auto hole = data ? sys::seek(from, begin, sys::kSeekHole)
                           : Result<std::int64_t>{std::int64_t{size_bytes}};
    const std::int64_t end = std::min(hole.value_or(size_bytes), size_bytes);
    TRY(copier.copy(begin, end));
    at = end;
  }
  return writer.resize(to, size_bytes);
}

}  // namespace plyfs::copyup
