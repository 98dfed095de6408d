// Operations on names: create, remove, rename, and whole-file reads and writes through a path.
#include <fcntl.h>
#include <stdio.h>  // renameat2
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "executor.h"
#include "random.h"

namespace plyfs::difftest {
namespace {

/// Whether opening `path` would open a device. What happens then depends on nodev, which kernel
/// overlayfs and FUSE mounts do not have alike, and on drivers; it says nothing about a union.
bool is_device(const char* path) {
  struct stat attributes {};
  return ::stat(path, &attributes) == 0 &&
         (S_ISCHR(attributes.st_mode) || S_ISBLK(attributes.st_mode));
}

OpResult do_open(const Operation& op, Side& side) {
  side.put(op.slot, -1);
  if (is_device(op.path.c_str())) return OpResult{0, 0, "device, not opened", {}};
  const int flags = op.flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  const int descriptor = ::open(op.path.c_str(), flags, op.mode);
  if (descriptor < 0) return failed(errno);
  side.put(op.slot, descriptor);
  struct stat attributes {};
  if (::fstat(descriptor, &attributes) != 0) return failed(errno);
  return OpResult{0, 0, stat_words(attributes), attributes.st_mtim};
}

OpResult do_read_file(const Operation& op) {
  if (is_device(op.path.c_str())) return OpResult{0, 0, "device, not opened", {}};
  const int descriptor = ::open(op.path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (descriptor < 0) return failed(errno);
  std::string content(1U << 20U, '\0');
  const ssize_t length = ::read(descriptor, content.data(), content.size());
  OpResult result = from_call(length);
  ::close(descriptor);
  if (length >= 0) result.data = digest({content.data(), static_cast<std::size_t>(length)});
  return result;
}

OpResult do_write_file(const Operation& op) {
  if (is_device(op.path.c_str())) return OpResult{0, 0, "device, not opened", {}};
  const int append = op.flags != 0 ? O_APPEND : 0;
  const int descriptor =
      ::open(op.path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | append);
  if (descriptor < 0) return failed(errno);
  const std::string bytes = random_bytes(op.data_seed, op.length);
  OpResult result =
      from_call(append != 0 ? ::write(descriptor, bytes.data(), bytes.size())
                            : ::pwrite(descriptor, bytes.data(), bytes.size(), op.offset));
  ::close(descriptor);
  return result;
}

OpResult do_readlink(const Operation& op) {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = ::readlink(op.path.c_str(), target.data(), target.size());
  OpResult result = from_call(length);
  if (length >= 0) result.data = shell_word(target.substr(0, static_cast<std::size_t>(length)));
  return result;
}

OpResult do_list(const Operation& op) {
  const int descriptor = ::open(op.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return descriptor < 0 ? failed(errno) : list_directory(descriptor);
}

OpResult do_rename(const Operation& op) {
  return from_call(::renameat2(AT_FDCWD, op.path.c_str(), AT_FDCWD, op.other.c_str(),
                               static_cast<unsigned>(op.flags)));
}

}  // namespace

OpResult execute_path(const Operation& op, Side& side) {
  const char* path = op.path.c_str();
  switch (op.kind) {
    case OpKind::kOpen:
      return do_open(op, side);
    case OpKind::kTruncate:
      return is_device(path) ? OpResult{} : from_call(::truncate(path, op.offset));
    case OpKind::kReadFile:
      return do_read_file(op);
    case OpKind::kWriteFile:
      return do_write_file(op);
    case OpKind::kUnlink:
      return from_call(::unlink(path));
    case OpKind::kRmdir:
      return from_call(::rmdir(path));
    case OpKind::kMkdir:
      return from_call(::mkdir(path, op.mode));
    case OpKind::kRename:
      return do_rename(op);
    case OpKind::kLink:
      return from_call(::linkat(AT_FDCWD, path, AT_FDCWD, op.other.c_str(), op.flags));
    case OpKind::kSymlink:
      return from_call(::symlink(op.other.c_str(), path));
    case OpKind::kReadlink:
      return do_readlink(op);
    case OpKind::kMknod:
      return from_call(::mknod(path, op.mode, op.device));
    case OpKind::kList:
      return do_list(op);
    default:
      return failed(ENOSYS);
  }
}

}  // namespace plyfs::difftest
