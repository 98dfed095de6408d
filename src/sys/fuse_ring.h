// FUSE over io_uring: requests come and go through memory shared with the kernel, in queues of
// which every processor has one (Documentation/filesystems/fuse/fuse-io-uring.rst).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Processors that this machine may ever have; the kernel waits for as many queues.
unsigned possible_processors();
/// The processors that are online, as numbers of queues.
std::vector<unsigned> online_processors();

/// One thread's io_uring with the requests that it serves.
class FuseRing {
 public:
  /// Room for one request and its reply, lent to the kernel while none is being served.
  class Slot {
   public:
    /// The request as read(2) from /dev/fuse gives it, in one piece. Valid until it is answered.
    [[nodiscard]] char* message() const { return message_; }
    [[nodiscard]] std::size_t size() const { return size_; }
    /// Where a reply's bytes after its header go. Writing them here at once saves a copy. Until
    /// then it holds what the request carries besides its fixed part.
    [[nodiscard]] char* payload() const { return payload_; }
    [[nodiscard]] std::size_t payload_bytes() const { return payload_bytes_; }

   private:
    friend class FuseRing;
    struct Unmap {
      std::size_t bytes;
      void operator()(char* memory) const;
    };
    std::unique_ptr<char, Unmap> memory_;
    char* header_ = nullptr;   ///< struct fuse_uring_req_header
    char* payload_ = nullptr;  ///< page-aligned; the fixed part of a message is put before it
    std::size_t payload_bytes_ = 0;
    char* message_ = nullptr;
    std::size_t size_ = 0;
    std::uint64_t commit_id_ = 0;
    unsigned queue_ = 0;
    iovec buffers_[2]{};
  };

  /// EPERM, ENOSYS, ENOMEM ... where io_uring is not available.
  static Result<std::unique_ptr<FuseRing>> make(std::size_t payload_bytes);
  ~FuseRing();
  FuseRing(const FuseRing&) = delete;
  FuseRing& operator=(const FuseRing&) = delete;

  /// Lends the kernel one more slot for requests of processor `queue`; from the next wait() on.
  /// The INIT of `device` must have been answered. By the ring's thread.
  Status lend_slot(BorrowedFd device, unsigned queue);
  /// Hands over what is prepared without waiting. The kernel's refusal of a slot: EINVAL and
  /// others.
  Status hand_over();
  /// Hands over what is prepared and waits for a request. Null: nothing came, call again. ENOTCONN:
  /// unmounted. By the ring's thread.
  Result<Slot*> wait();
  /// Answers, and lends the slot again. `parts[0]` is the header, struct fuse_out_header. By any
  /// thread; once for each request. Returns the bytes taken, or -EINVAL when there is no room.
  long reply(Slot& slot, const iovec* parts, int count, bool by_the_rings_thread);

 private:
  struct Impl;
  explicit FuseRing(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace plyfs::sys
