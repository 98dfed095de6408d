// Operations on attributes through a path: mode, owner, times, extended attributes, questions.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "executor.h"

namespace plyfs::difftest {
namespace {

OpResult do_stat(const Operation& op) {
  struct stat attributes {};
  if (::fstatat(AT_FDCWD, op.path.c_str(), &attributes, op.flags) != 0) return failed(errno);
  return OpResult{0, 0, stat_words(attributes), attributes.st_mtim};
}

OpResult do_listxattr(const Operation& op) {
  // A size probe (size 0) is not compared: overlayfs answers it before it has taken its private
  // names out, so it may say more than the list needs.
  std::string names(1U << 16U, '\0');
  const ssize_t length = ::llistxattr(op.path.c_str(), names.data(), names.size());
  if (length < 0) return failed(errno);
  std::vector<std::string> words;
  for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
    words.emplace_back(names.c_str() + at);
    at += words.back().size() + 1;
  }
  std::sort(words.begin(), words.end());
  OpResult result{static_cast<long>(words.size()), 0, {}, {}};
  for (const std::string& word : words) result.data += word + " ";
  return result;
}

OpResult do_statfs(const Operation& op) {
  struct statfs figures {};
  if (::statfs(op.path.c_str(), &figures) != 0) return failed(errno);
  // The type differs by nature, free space changes under our feet, and block units may differ.
  return OpResult{0, 0, "namelen " + std::to_string(figures.f_namelen), {}};
}

}  // namespace

OpResult execute_attribute(const Operation& op, Side&) {
  const char* path = op.path.c_str();
  switch (op.kind) {
    case OpKind::kChmod:
      return from_call(::chmod(path, op.mode));
    case OpKind::kChown:
      return from_call(::lchown(path, op.uid, op.gid));
    case OpKind::kUtimens:
      return from_call(::utimensat(AT_FDCWD, path, op.times.data(), AT_SYMLINK_NOFOLLOW));
    case OpKind::kSetxattr:
      return from_call(
          ::lsetxattr(path, op.xattr.c_str(), op.value.data(), op.value.size(), op.flags));
    case OpKind::kGetxattr:
      return read_value(op.length, [&](char* buffer, std::size_t size) {
        return ::lgetxattr(path, op.xattr.c_str(), buffer, size);
      });
    case OpKind::kListxattr:
      return do_listxattr(op);
    case OpKind::kRemovexattr:
      return from_call(::lremovexattr(path, op.xattr.c_str()));
    case OpKind::kStat:
      return do_stat(op);
    case OpKind::kAccess:
      return from_call(::faccessat(AT_FDCWD, path, op.flags, AT_EACCESS));
    case OpKind::kStatfs:
      return do_statfs(op);
    default:
      return failed(ENOSYS);
  }
}

}  // namespace plyfs::difftest
