#include "call.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include "catch.h"

namespace plyfs::tests {
namespace {

std::string in_brackets() { return "<" + outcome(-1) + ">"; }

}  // namespace

std::string outcome(std::int64_t result) {
  if (result >= 0) {
    return "ok";
  }
  const char* name = ::strerrorname_np(errno);
  return name != nullptr ? name : std::to_string(errno);
}

std::string joined(const std::vector<std::string>& outcomes) {
  std::string text;
  for (const std::string& one : outcomes) {
    text += (text.empty() ? "" : " ") + one;
  }
  return text;
}

File::File(const std::string& path, int flags, mode_t mode)
    : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)), opened_(outcome(fd_)) {}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), opened_(std::move(other.opened_)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    (void)close();
    fd_ = std::exchange(other.fd_, -1);
    opened_ = std::move(other.opened_);
  }
  return *this;
}

File::~File() { (void)close(); }

std::string File::write(std::string_view data) {
  while (!data.empty()) {
    const ssize_t done = ::write(fd_, data.data(), data.size());
    if (done <= 0) {
      return outcome(done == 0 ? -1 : done);
    }
    data.remove_prefix(static_cast<std::size_t>(done));
  }
  return "ok";
}

std::string File::pwrite(std::string_view data, off_t offset) {
  while (!data.empty()) {
    const ssize_t done = ::pwrite(fd_, data.data(), data.size(), offset);
    if (done <= 0) {
      return outcome(done == 0 ? -1 : done);
    }
    data.remove_prefix(static_cast<std::size_t>(done));
    offset += done;
  }
  return "ok";
}

std::string File::pread(off_t offset, std::size_t size) const {
  std::string data(size, '\0');
  std::size_t have = 0;
  while (have < size) {
    const ssize_t done =
        ::pread(fd_, data.data() + have, size - have, offset + static_cast<off_t>(have));
    if (done < 0) {
      return in_brackets();
    }
    if (done == 0) {
      break;
    }
    have += static_cast<std::size_t>(done);
  }
  data.resize(have);
  return data;
}

std::string File::read_all() const {
  // A buffer of the file's size: clearing a large one for each small file is what tests would do
  // most.
  struct stat now = {};
  (void)::fstat(fd_, &now);
  const std::size_t chunk = std::clamp<std::size_t>(static_cast<std::size_t>(now.st_size) + 1, 4096,
                                                    std::size_t{1} << 20U);
  std::string all;
  for (;;) {
    std::string part = pread(static_cast<off_t>(all.size()), chunk);
    if (part.empty() || part.front() == '<') {
      return all.empty() ? part : all + part;
    }
    all += part;
  }
}

struct stat File::stat() const {
  struct stat result = {};
  CHECK(outcome(::fstat(fd_, &result)) == "ok");
  return result;
}

std::string File::close() {
  if (fd_ < 0) {
    return "ok";
  }
  return outcome(::close(std::exchange(fd_, -1)));
}

namespace call {

std::string create(const std::string& path, std::string_view content, mode_t mode) {
  File file(path, O_WRONLY | O_CREAT | O_EXCL, mode);
  return file.fd() < 0 ? file.opened() : file.write(content);
}

std::string append(const std::string& path, std::string_view content) {
  File file(path, O_WRONLY | O_APPEND);
  return file.fd() < 0 ? file.opened() : file.write(content);
}

std::string overwrite(const std::string& path, std::string_view content) {
  File file(path, O_WRONLY | O_TRUNC);
  return file.fd() < 0 ? file.opened() : file.write(content);
}

std::string open(const std::string& path, int flags, mode_t mode) {
  return File(path, flags, mode).opened();
}

std::string unlink(const std::string& path) { return outcome(::unlink(path.c_str())); }
std::string rmdir(const std::string& path) { return outcome(::rmdir(path.c_str())); }
std::string mkdir(const std::string& path, mode_t mode) {
  return outcome(::mkdir(path.c_str(), mode));
}
std::string symlink(const std::string& target, const std::string& path) {
  return outcome(::symlink(target.c_str(), path.c_str()));
}
std::string link(const std::string& from, const std::string& path) {
  return outcome(::link(from.c_str(), path.c_str()));
}
std::string mknod(const std::string& path, mode_t mode, dev_t device) {
  return outcome(::mknod(path.c_str(), mode, device));
}
std::string rename(const std::string& from, const std::string& to, unsigned flags) {
  return outcome(::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
}
std::string chmod(const std::string& path, mode_t mode) {
  return outcome(::chmod(path.c_str(), mode));
}
std::string chown(const std::string& path, uid_t uid, gid_t gid) {
  return outcome(::lchown(path.c_str(), uid, gid));
}
std::string truncate(const std::string& path, off_t size) {
  return outcome(::truncate(path.c_str(), size));
}
std::string utimens(const std::string& path, timespec atime, timespec mtime) {
  const timespec times[2] = {atime, mtime};
  return outcome(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW));
}
std::string setxattr(const std::string& path, const std::string& name, std::string_view value,
                     int flags) {
  return outcome(::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), flags));
}
std::string removexattr(const std::string& path, const std::string& name) {
  return outcome(::lremovexattr(path.c_str(), name.c_str()));
}
std::string access(const std::string& path, int mode) {
  return outcome(::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS));
}
std::string stat(const std::string& path) {
  struct stat unused = {};
  return outcome(::lstat(path.c_str(), &unused));
}

}  // namespace call

std::string content(const std::string& path) {
  const File file(path, O_RDONLY);
  return file.fd() < 0 ? "<" + file.opened() + ">" : file.read_all();
}

std::string link_target(const std::string& path) {
  std::string target(4096, '\0');
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  if (size < 0) {
    return in_brackets();
  }
  target.resize(static_cast<std::size_t>(size));
  return target;
}

std::string xattr(const std::string& path, const std::string& name) {
  thread_local std::array<char, 65536> value;
  const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  return size < 0 ? in_brackets() : std::string(value.data(), static_cast<std::size_t>(size));
}

std::vector<std::string> xattr_names(const std::string& path) {
  thread_local std::array<char, 65536> list;
  const ssize_t size = ::llistxattr(path.c_str(), list.data(), list.size());
  if (size < 0) {
    return {in_brackets()};
  }
  std::vector<std::string> names;
  for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
    std::string name = list.data() + at;
    at += name.size() + 1;
    if (name != "security.selinux" && !name.starts_with("trusted.SGI_ACL_")) {
      names.push_back(std::move(name));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct stat status(const std::string& path) {
  struct stat result = {};
  INFO("lstat " << path);
  CHECK(outcome(::lstat(path.c_str(), &result)) == "ok");
  return result;
}

struct stat status_of_target(const std::string& path) {
  struct stat result = {};
  INFO("stat " << path);
  CHECK(outcome(::stat(path.c_str(), &result)) == "ok");
  return result;
}

mode_t permissions(const std::string& path) { return status(path).st_mode & 07777U; }

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) {
    return {in_brackets()};
  }
  errno = 0;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") {
      names.push_back(name);
    }
  }
  if (errno != 0) {
    names.push_back(in_brackets());
  }
  ::closedir(directory);
  return names;
}

std::vector<std::string> sorted_names_in(const std::string& path) {
  std::vector<std::string> names = names_in(path);
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(const std::string& path) {
  struct stat unused = {};
  return ::lstat(path.c_str(), &unused) == 0;
}

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void let_clock_tick() {
  const auto coarse = [] {
    timespec now{};
    (void)::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return nanoseconds(now);
  };
  const std::int64_t before = coarse();
  while (coarse() == before) {
  }
}

std::int64_t mtime_ns(const std::string& path) { return nanoseconds(status(path).st_mtim); }

std::string pattern(std::size_t size, unsigned seed) {
  std::string data(size, '\0');
  std::uint32_t state = seed * 2654435761U + 12345U;
  for (char& byte : data) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>('a' + (state >> 24U) % 26U);
  }
  return data;
}

}  // namespace plyfs::tests
