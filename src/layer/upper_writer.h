// The one door to the upper layer and the work directory: every change goes through here, is
// counted, and can be made to fail or to kill the process by tests
// (PLYFS_FAIL_AT=n[+][:errno|:kill]).
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/file_stat.h"
#include "layer/lifted_modes.h"
#include "plyfs/result.h"
#include "sys/open.h"
#include "sys/unique_fd.h"

namespace plyfs::layer {

/// Thread-safe. Verbs and errors are those of the system calls of the same name; EROFS when the
/// mount is read-only. What the mode of its own object keeps from an unprivileged owner is lifted
/// for the moment of the change (LiftedModes), as CAP_DAC_OVERRIDE would allow.
class UpperWriter {
 public:
  enum class Rights : std::uint8_t { kPrivileged, kOwnerOnly };
  explicit UpperWriter(Rights rights);

  Result<sys::UniqueFd> create_file(sys::BorrowedFd dir, const char* name, mode_t mode);
  Result<sys::UniqueFd> create_unnamed(sys::BorrowedFd dir, mode_t mode);
  Status make_directory(sys::BorrowedFd dir, const char* name, mode_t mode);
  Status make_node(sys::BorrowedFd dir, const char* name, mode_t mode, dev_t device);
  Status make_symlink(const char* target, sys::BorrowedFd dir, const char* name);
  Status make_link(sys::ObjectRef from, sys::BorrowedFd dir, const char* name);
  Status unlink_file(sys::BorrowedFd dir, const char* name);
  Status remove_directory(sys::BorrowedFd dir, const char* name);
  Status rename_entry(sys::BorrowedFd from_dir, const char* from, sys::BorrowedFd to_dir,
                      const char* to, unsigned flags);

  Status change_mode(sys::ObjectRef object, mode_t mode);
  Status change_owner(sys::ObjectRef object, uid_t uid, gid_t gid);
  Status change_times(sys::ObjectRef object, const TimeChange& atime, const TimeChange& mtime);
  Status set_xattr(sys::ObjectRef object, const char* name, std::string_view value, int flags);
  Status remove_xattr(sys::ObjectRef object, const char* name);

  Result<std::size_t> write_at(sys::BorrowedFd fd, const void* buffer, std::size_t size_bytes,
                               std::int64_t offset);
  Status write_all_at(sys::BorrowedFd fd, const void* buffer, std::size_t size_bytes,
                      std::int64_t offset);
  Status resize(sys::BorrowedFd fd, std::int64_t size_bytes);
  Status resize_object(sys::ObjectRef object, std::int64_t size_bytes);
  Status allocate(sys::BorrowedFd fd, int mode, std::int64_t offset, std::int64_t size_bytes);
  Status clone_file(sys::BorrowedFd from, sys::BorrowedFd to);
  Result<std::size_t> copy_range(sys::BorrowedFd from, std::int64_t from_offset, sys::BorrowedFd to,
                                 std::int64_t to_offset, std::size_t size_bytes);
  Status set_inode_flags(sys::BorrowedFd fd, std::uint32_t flags);
  Status sync(sys::BorrowedFd fd);
  Status sync_directory(sys::ObjectRef directory);

  /// A file of the upper for I/O. No change: it is not counted.
  Result<sys::UniqueFd> open_file(sys::ObjectRef object, sys::Access access);
  /// A handle (O_PATH) of an object in a directory that its owner may not search.
  Result<sys::UniqueFd> open_handle(sys::ObjectRef object);
  [[nodiscard]] LiftedModes& lifted() { return lifted_; }

  /// From now on the n-th next change fails with `error`; `lasting`: and every one after it. What
  /// PLYFS_FAIL_AT does from the start (n:ERRNO, n+:ERRNO, n:kill). 0: none fails any more.
  enum class Fails : std::uint8_t { kOnce, kLasting };
  void fail_at(std::uint64_t n, int error, Fails fails);

  [[nodiscard]] std::uint64_t changes() const { return changes_.load(std::memory_order_relaxed); }

 private:
  Status gate();
  template <typename Change>
  auto with(std::initializer_list<LiftedObject> objects, Change change) -> decltype(change());
  template <typename Change>
  auto in_directory(sys::BorrowedFd dir, Change change) -> decltype(change());

  const Rights rights_;
  LiftedModes lifted_{[this] { return gate(); }};
  std::atomic<std::uint64_t> changes_{0};
  std::uint64_t fail_at_ = 0;  ///< 0: never
  std::uint64_t fail_until_ = 0;
  int fail_errno_ = 0;  ///< 0: kill
};

}  // namespace plyfs::layer
