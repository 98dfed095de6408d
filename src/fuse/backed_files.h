// Files that the kernel reads and writes itself (FUSE passthrough), and who has which file open.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "base/mutex.h"
#include "sys/unique_fd.h"

namespace plyfs::fuse {

/// The kernel refuses (EIO) to have one inode open both through its page cache and through a
/// backing file, or through two of them. So the first open of an inode decides for all that follow
/// while it is open, and one number serves them all. Thread-safe.
class BackedFiles {
 public:
  enum class Writes : bool { kNo, kYes };
  /// Of one open file; kept in its `fh`, and given back at RELEASE.
  struct Opened {
    std::int32_t backing = 0;  ///< what the kernel is to be told; 0: it caches, and asks us
    Writes writes = Writes::kNo;

    [[nodiscard]] std::uint64_t handle() const {
      return static_cast<std::uint64_t>(backing) << 1U | (writes == Writes::kYes ? 1U : 0U);
    }
    static Opened of_handle(std::uint64_t handle) {
      return {static_cast<std::int32_t>(handle >> 1U), Writes{(handle & 1U) != 0}};
    }
  };

  /// `device`: of the connection; borrowed. Set before the first open().
  void set_device(sys::BorrowedFd device) { device_ = device; }

  /// Notes that inode `id` is open once more. `file` is what the kernel may read and write; not
  /// valid: there is nothing (yet) that it may.
  Opened open(std::uint64_t id, sys::BorrowedFd file, Writes writes);
  void release(std::uint64_t id, Opened opened);
  /// Whether the kernel may be changing size and times of that inode by itself now.
  [[nodiscard]] bool is_written(std::uint64_t id);

 private:
  struct State {
    std::uint32_t cached = 0;
    std::uint32_t backed = 0;
    std::uint32_t writers = 0;  ///< of `backed`
    std::int32_t backing = 0;   ///< while `backed`
  };
  struct Shard {
    Mutex mu;
    std::unordered_map<std::uint64_t, State> states GUARDED_BY(mu);
  };
  static constexpr std::size_t kShards = 16;
  Shard& shard_of(std::uint64_t id) { return shards_[(id >> 6U) % kShards]; }
  std::int32_t lend(sys::BorrowedFd file);

  sys::BorrowedFd device_{-1};
  std::array<Shard, kShards> shards_;
};

}  // namespace plyfs::fuse
