#include "fuse/spliced_read.h"

#include <linux/fuse.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "fuse/disk_waits.h"
#include "fuse/raw_request.h"
#include "sys/object_stat.h"
#include "sys/page_pipe.h"

namespace plyfs::fuse {
namespace {

/// Of a thread. Where a pipe cannot be had, or did not work, it goes on without for a while.
class Pipe {
 public:
  sys::PagePipe* get() {
    if (!pipe_ && ++refused_ % kTryAgain == 1) {
      if (auto made = sys::PagePipe::make()) {
        pipe_.emplace(std::move(*made));
      }
    }
    return pipe_ ? &*pipe_ : nullptr;
  }
  void drop() { pipe_.reset(); }

 private:
  static constexpr unsigned kTryAgain = 64;  // requests
  std::optional<sys::PagePipe> pipe_;
  unsigned refused_ = 0;
};

}  // namespace

bool reply_spliced(fuse_req_t request, sys::BorrowedFd file, std::size_t size_bytes, off_t offset) {
  RawRequest& raw = raw_request();
  if (size_bytes < kLeastSpliced || reply_path().slot != nullptr) {
    return false;
  }
  // The header says how much there is, and goes first. Who finds another end when he gets there
  // begins anew.
  const auto stat = sys::stat_object({file, ""});
  if (!stat || offset >= stat->size_bytes) {
    return false;
  }
  const std::size_t rest =
      std::min(size_bytes, static_cast<std::size_t>(stat->size_bytes - offset));
  thread_local Pipe pipe;
  sys::PagePipe* const pages =
      rest >= kLeastSpliced && rest <= sys::PagePipe::kMostBytes ? pipe.get() : nullptr;
  if (pages == nullptr) {
    return false;
  }
  fuse_out_header header{};
  header.len = static_cast<std::uint32_t>(sizeof header + rest);
  header.unique = raw.unique;
  raw.answered_ticks = ticks_now();
  if (!pages->send(reply_path().device, {&header, sizeof header}, file, offset, rest)) {
    pipe.drop();
    return false;
  }
  fuse_reply_none(request);  // frees it
  return true;
}

}  // namespace plyfs::fuse
