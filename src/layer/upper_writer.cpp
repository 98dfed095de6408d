#include "layer/upper_writer.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "sys/dir_ops.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/owner_access.h"

namespace plyfs::layer {
UpperWriter::UpperWriter(Rights rights) : rights_(rights) {
  const char* wanted = std::getenv("PLYFS_FAIL_AT");
  if (wanted == nullptr) {
    return;
  }
  const char* end = wanted + std::strlen(wanted);
  const auto [stop, error] = std::from_chars(wanted, end, fail_at_);
  if (error != std::errc{}) {
    return;
  }
  fail_errno_ = EIO;
  if (stop != end && std::strcmp(stop, ":kill") == 0) {
    fail_errno_ = 0;
  } else if (stop != end) {
    (void)std::from_chars(stop + 1, end, fail_errno_);
  }
}

Status UpperWriter::gate() {
  const std::uint64_t number = changes_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (fail_at_ == 0 || number != fail_at_) [[likely]] {
    return {};
  }
  if (fail_errno_ == 0) {
    std::_Exit(137);  // a crash test: as kill -9 at this very change
  }
  return Errno{fail_errno_};
}

template <typename Change>
auto UpperWriter::in_directory(sys::BorrowedFd dir, Change change) -> decltype(change()) {
  if (rights_ == Rights::kPrivileged) [[likely]] {
    return change();
  }
  return sys::with_owner_access({dir, ""}, change);
}

Result<sys::UniqueFd> UpperWriter::create_file(sys::BorrowedFd dir, const char* name, mode_t mode) {
  TRY(gate());
  return in_directory(dir, [&] { return sys::create_file(dir, name, mode); });
}

Result<sys::UniqueFd> UpperWriter::create_unnamed(sys::BorrowedFd dir, mode_t mode) {
  TRY(gate());
  return in_directory(dir, [&] { return sys::create_unnamed(dir, mode); });
}

Status UpperWriter::make_directory(sys::BorrowedFd dir, const char* name, mode_t mode) {
  TRY(gate());
  return in_directory(dir, [&] { return sys::make_directory(dir, name, mode); });
}

Status UpperWriter::make_node(sys::BorrowedFd dir, const char* name, mode_t mode, dev_t device) {
  TRY(gate());
  return in_directory(dir, [&] { return sys::make_node(dir, name, mode, device); });
}

Status UpperWriter::make_symlink(const char* target, sys::BorrowedFd dir, const char* name) {
  TRY(gate());
  return in_directory(dir, [&] { return sys::make_symlink(target, dir, name); });
}

Status UpperWriter::make_link(sys::ObjectRef from, sys::BorrowedFd dir, const char* name) {
  TRY(gate());
  return in_directory(dir, [&] { return sys::make_link(from, dir, name); });
}

Status UpperWriter::unlink_file(sys::BorrowedFd dir, const char* name) {
  TRY(gate());
  return in_directory(dir, [&] { return sys::unlink_file(dir, name); });
}

Status UpperWriter::remove_directory(sys::BorrowedFd dir, const char* name) {
  TRY(gate());
  return in_directory(dir, [&] { return sys::remove_directory(dir, name); });
}

Status UpperWriter::rename_entry(sys::BorrowedFd from_dir, const char* from, sys::BorrowedFd to_dir,
                                 const char* to, unsigned flags) {
  TRY(gate());
  return in_directory(from_dir, [&] {
    return in_directory(to_dir,
                        [&] { return sys::rename_entry(from_dir, from, to_dir, to, flags); });
  });
}

Status UpperWriter::change_mode(sys::ObjectRef object, mode_t mode) {
  TRY(gate());
  return sys::change_mode(object, mode);
}

Status UpperWriter::change_owner(sys::ObjectRef object, uid_t uid, gid_t gid) {
  TRY(gate());
  return sys::change_owner(object, uid, gid);
}

Status UpperWriter::change_times(sys::ObjectRef object, const TimeChange& atime,
                                 const TimeChange& mtime) {
  TRY(gate());
  return sys::change_times(object, atime, mtime);
}

Status UpperWriter::set_xattr(sys::ObjectRef object, const char* name, std::string_view value,
                              int flags) {
  TRY(gate());
  if (rights_ == Rights::kPrivileged) [[likely]] {
    return sys::set_xattr(object, name, value, flags);
  }
  // user.* needs write permission on the object itself (xattr(7)).
  return sys::with_owner_access(object, [&] { return sys::set_xattr(object, name, value, flags); });
}

Status UpperWriter::remove_xattr(sys::ObjectRef object, const char* name) {
  TRY(gate());
  if (rights_ == Rights::kPrivileged) [[likely]] {
    return sys::remove_xattr(object, name);
  }
  return sys::with_owner_access(object, [&] { return sys::remove_xattr(object, name); });
}

Result<std::size_t> UpperWriter::write_at(sys::BorrowedFd fd, const void* buffer,
                                          std::size_t size_bytes, std::int64_t offset) {
  TRY(gate());
  return sys::write_at(fd, buffer, size_bytes, offset);
}

Status UpperWriter::write_all_at(sys::BorrowedFd fd, const void* buffer, std::size_t size_bytes,
                                 std::int64_t offset) {
  TRY(gate());
  return sys::write_all_at(fd, buffer, size_bytes, offset);
}

Status UpperWriter::resize(sys::BorrowedFd fd, std::int64_t size_bytes) {
  TRY(gate());
  return sys::resize(fd, size_bytes);
}

Status UpperWriter::resize_object(sys::ObjectRef object, std::int64_t size_bytes) {
  TRY(gate());
  return sys::truncate_object(object, size_bytes);
}

Status UpperWriter::allocate(sys::BorrowedFd fd, int mode, std::int64_t offset,
                             std::int64_t size_bytes) {
  TRY(gate());
  return sys::allocate(fd, mode, offset, size_bytes);
}

Status UpperWriter::clone_file(sys::BorrowedFd from, sys::BorrowedFd to) {
  TRY(gate());
  return sys::clone_file(from, to);
}

Result<std::size_t> UpperWriter::copy_range(sys::BorrowedFd from, std::int64_t from_offset,
                                            sys::BorrowedFd to, std::int64_t to_offset,
                                            std::size_t size_bytes) {
  TRY(gate());
  return sys::copy_range(from, from_offset, to, to_offset, size_bytes);
}

Status UpperWriter::set_inode_flags(sys::BorrowedFd fd, std::uint32_t flags) {
  TRY(gate());
  return sys::set_inode_flags(fd, flags);
}

Status UpperWriter::sync(sys::BorrowedFd fd) {
  TRY(gate());
  return sys::sync_all(fd);
}

}  // namespace plyfs::layer
