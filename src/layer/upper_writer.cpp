#include "layer/upper_writer.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "sys/dir_ops.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"

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
  fail_until_ = fail_at_;
  const char* how = stop;
  if (how != end && *how == '+') {
    fail_until_ = ~std::uint64_t{0};
    ++how;
  }
  if (how != end && std::strcmp(how, ":kill") == 0) {
    fail_errno_ = 0;
  } else if (how != end) {
    (void)std::from_chars(how + 1, end, fail_errno_);
  }
}

void UpperWriter::fail_at(std::uint64_t n, int error, Fails fails) {
  fail_at_ = n == 0 ? 0 : changes() + n;
  fail_until_ = fails == Fails::kOnce ? fail_at_ : ~std::uint64_t{0};
  fail_errno_ = error;
}

Status UpperWriter::gate() {
  const std::uint64_t number = changes_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (fail_at_ == 0 || number < fail_at_ || number > fail_until_) [[likely]] {
    return {};
  }
  if (fail_errno_ == 0) {
    std::_Exit(137);  // a crash test: as kill -9 at this very change
  }
  return Errno{fail_errno_};
}

template <typename Change>
auto UpperWriter::with(std::initializer_list<LiftedObject> objects, Change change)
    -> decltype(change()) {
  return rights_ == Rights::kPrivileged ? change() : lifted_.attempt(objects, change);
}

template <typename Change>
auto UpperWriter::in_directory(sys::BorrowedFd dir, Change change) -> decltype(change()) {
  return with({{{dir, ""}, {dir, ""}}}, change);
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
  // A directory that moves to another one is written, too: its ".." changes.
  const sys::ObjectRef here{from_dir, from};
  const sys::ObjectRef there{to_dir, to};
  const auto change = [&] { return sys::rename_entry(from_dir, from, to_dir, to, flags); };
  const LiftedObject places[] = {{{from_dir, ""}, {from_dir, ""}}, {{to_dir, ""}, {to_dir, ""}}};
  return (flags & sys::kRenameExchange) != 0
             ? with({places[0], places[1], {here, there, true}, {there, here, true}}, change)
             : with({places[0], places[1], {here, there, true}}, change);
}

Status UpperWriter::change_mode(sys::ObjectRef object, mode_t mode) {
  TRY(gate());
  const auto change = [&] { return sys::change_mode(object, mode); };
  return rights_ == Rights::kPrivileged ? change() : lifted_.unlifted(change);
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
  // user.* needs write permission on the object itself (xattr(7)).
  return with({{object, object}}, [&] { return sys::set_xattr(object, name, value, flags); });
}

Status UpperWriter::remove_xattr(sys::ObjectRef object, const char* name) {
  TRY(gate());
  return with({{object, object}}, [&] { return sys::remove_xattr(object, name); });
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

Status UpperWriter::sync_directory(sys::ObjectRef directory) {
  TRY(gate());
  const sys::UniqueFd opened =
      TRY(with({{directory, directory}}, [&] { return sys::open_listing(directory); }));
  return sys::sync_all(opened.borrow());
}

Result<sys::UniqueFd> UpperWriter::open_file(sys::ObjectRef object, sys::Access access) {
  // 0444 with a writer that opened the file before; 0000.
  return with({{{object.dir, ""}, {object.dir, ""}}, {object, object}},
              [&] { return sys::open_file(object, access); });
}

Result<sys::UniqueFd> UpperWriter::open_handle(sys::ObjectRef object) {
  return in_directory(object.dir, [&] { return sys::open_handle(object); });
}

}  // namespace plyfs::layer
