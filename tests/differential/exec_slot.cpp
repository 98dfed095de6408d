// Operations through descriptors that stay open across other operations: after a copy-up, a
// rename, an unlink or a removal of their directory.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "executor.h"
#include "random.h"

namespace plyfs::difftest {
namespace {

/// A slot's descriptor for reading, and the fresh one that stands in for it where needed.
class Reader {
 public:
  Reader(const Side& side, int slot) : own_(side.slot(slot)), fresh_(side.fresh_reader(own_)) {}
  ~Reader() {
    if (fresh_ != own_) ::close(fresh_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  [[nodiscard]] int own() const { return own_; }
  [[nodiscard]] int fresh() const { return fresh_; }

 private:
  int own_;
  int fresh_;
};

OpResult do_read(const Operation& op, const Side& side) {
  const Reader reader{side, op.slot};
  std::string bytes(op.length, '\0');
  ssize_t length = 0;
  if (op.kind == OpKind::kPread) {
    length = ::pread(reader.fresh(), bytes.data(), bytes.size(), op.offset);
  } else if (reader.fresh() == reader.own()) {
    length = ::read(reader.own(), bytes.data(), bytes.size());
  } else {
    const off_t position = ::lseek(reader.own(), 0, SEEK_CUR);
    length = ::pread(reader.fresh(), bytes.data(), bytes.size(), position);
    if (length > 0) ::lseek(reader.own(), position + length, SEEK_SET);
  }
  OpResult result = from_call(length);
  if (length >= 0) result.data = digest({bytes.data(), static_cast<std::size_t>(length)});
  return result;
}

OpResult do_write(const Operation& op, const Side& side) {
  const std::string bytes = random_bytes(op.data_seed, op.length);
  const int descriptor = side.slot(op.slot);
  return from_call(op.kind == OpKind::kWrite
                       ? ::write(descriptor, bytes.data(), bytes.size())
                       : ::pwrite(descriptor, bytes.data(), bytes.size(), op.offset));
}

/// Where data and holes lie may differ after a copy-up (both may fill small holes), so only
/// what every layout has in common is kept: the errno, and whether the answer lies in the file.
OpResult do_seek_layout(const Operation& op, const Reader& reader) {
  struct stat attributes {};
  if (::fstat(reader.own(), &attributes) != 0) return failed(errno);
  const off_t position = ::lseek(reader.own(), 0, SEEK_CUR);
  const off_t found = ::lseek(reader.fresh(), op.offset, op.flags);
  const int error = errno;
  ::lseek(reader.own(), position, SEEK_SET);
  if (!S_ISREG(attributes.st_mode)) return found < 0 ? failed(error) : OpResult{};
  const bool inside = op.offset >= 0 && op.offset < attributes.st_size;
  if (!inside) return found < 0 ? failed(error) : OpResult{0, 0, "answer beyond the end", {}};
  if (found < 0 && !(op.flags == SEEK_DATA && error == ENXIO)) return failed(error);
  const bool sane = found < 0 || (found >= op.offset && found <= attributes.st_size);
  return OpResult{0, 0, sane ? "" : "answer " + std::to_string(found) + " outside", {}};
}

OpResult do_seek(const Operation& op, const Side& side) {
  const Reader reader{side, op.slot};
  if (op.flags == SEEK_DATA || op.flags == SEEK_HOLE) return do_seek_layout(op, reader);
  struct stat attributes {};
  const bool known = ::fstat(reader.own(), &attributes) == 0;
  if (known && S_ISDIR(attributes.st_mode)) return OpResult{};  // directory offsets are opaque
  if (op.flags != SEEK_END || reader.fresh() == reader.own()) {
    return from_call(::lseek(reader.own(), op.offset, op.flags));
  }
  const off_t target = ::lseek(reader.fresh(), op.offset, SEEK_END);
  return target < 0 ? failed(errno) : from_call(::lseek(reader.own(), target, SEEK_SET));
}

OpResult do_copy_range(const Operation& op, const Side& side) {
  const Reader source{side, op.slot};
  off_t from = op.offset;
  off_t to = op.other_offset;
  return from_call(
      ::copy_file_range(source.fresh(), &from, side.slot(op.other_slot), &to, op.length, 0));
}

OpResult do_map_write(const Operation& op, const Side& side) {
  const int descriptor = side.slot(op.slot);
  struct stat attributes {};
  if (::fstat(descriptor, &attributes) != 0) return failed(errno);
  if (!S_ISREG(attributes.st_mode)) return OpResult{0, 0, "not a file", {}};
  if (op.offset >= attributes.st_size) return OpResult{0, 0, "beyond the end", {}};
  const auto size = static_cast<std::size_t>(attributes.st_size);
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) return failed(errno);
  const auto offset = static_cast<std::size_t>(op.offset);
  const std::string bytes = random_bytes(op.data_seed, std::min(op.length, size - offset));
  std::memcpy(static_cast<char*>(memory) + offset, bytes.data(), bytes.size());
  OpResult result = from_call(::msync(memory, size, MS_SYNC));
  ::munmap(memory, size);
  return result;
}

OpResult do_fstat(int descriptor) {
  struct stat attributes {};
  if (::fstat(descriptor, &attributes) != 0) return failed(errno);
  return OpResult{0, 0, stat_words(attributes), attributes.st_mtim};
}

OpResult do_link(const Operation& op, const Side& side) {
  const std::string name = std::to_string(side.slot(op.slot));
  return from_call(::linkat(side.host().own_descriptors(), name.c_str(), AT_FDCWD, op.path.c_str(),
                            AT_SYMLINK_FOLLOW));
}

OpResult do_list(int descriptor) {
  // A second description with its own offset, opened through the descriptor itself: this works in
  // a removed directory too.
  const int own = ::openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own >= 0) return list_directory(own);
  const int error = errno;
  if (error != ENOENT) return failed(error);
  const int copy = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  return copy < 0 ? failed(errno) : list_directory(copy);
}

OpResult execute_slot_attribute(const Operation& op, int descriptor) {
  switch (op.kind) {
    case OpKind::kFstat:
      return do_fstat(descriptor);
    case OpKind::kFchmod:
      return from_call(::fchmod(descriptor, op.mode));
    case OpKind::kFchown:
      return from_call(::fchown(descriptor, op.uid, op.gid));
    case OpKind::kFutimens:
      return from_call(::futimens(descriptor, op.times.data()));
    case OpKind::kFsetxattr:
      return from_call(
          ::fsetxattr(descriptor, op.xattr.c_str(), op.value.data(), op.value.size(), op.flags));
    case OpKind::kFgetxattr:
      return read_value(op.length, [&](char* buffer, std::size_t size) {
        return ::fgetxattr(descriptor, op.xattr.c_str(), buffer, size);
      });
    default:
      return failed(ENOSYS);
  }
}

}  // namespace

OpResult execute_slot(const Operation& op, Side& side) {
  const int descriptor = side.slot(op.slot);
  if (descriptor < 0) return failed(EBADF);
  switch (op.kind) {
    case OpKind::kClose:
      side.put(op.slot, -1);
      return {};
    case OpKind::kRead:
    case OpKind::kPread:
      return do_read(op, side);
    case OpKind::kWrite:
    case OpKind::kPwrite:
      return do_write(op, side);
    case OpKind::kSeek:
      return do_seek(op, side);
    case OpKind::kFtruncate:
      return from_call(::ftruncate(descriptor, op.offset));
    case OpKind::kFsync:
      return from_call(op.flags != 0 ? ::fdatasync(descriptor) : ::fsync(descriptor));
    case OpKind::kFallocate:
      return from_call(::fallocate(descriptor, op.flags, op.offset, static_cast<off_t>(op.length)));
    case OpKind::kCopyRange:
      return do_copy_range(op, side);
    case OpKind::kMapWrite:
      return do_map_write(op, side);
    case OpKind::kLinkFd:
      return do_link(op, side);
    case OpKind::kListFd:
      return do_list(descriptor);
    case OpKind::kFlock:
      return from_call(::flock(descriptor, op.flags | LOCK_NB));
    default:
      return execute_slot_attribute(op, descriptor);
  }
}

}  // namespace plyfs::difftest
