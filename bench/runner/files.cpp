#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "process.h"

namespace plyfs::bench {
namespace {

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using DirectoryStream = std::unique_ptr<DIR, CloseDirectory>;

DirectoryStream open_directory(int parent, const char* name) {
  const int fd =
      static_cast<int>(checked(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), name));
  DirectoryStream stream(::fdopendir(fd));
  if (!stream) {
    throw std::system_error(errno, std::generic_category(), "fdopendir");
  }
  return stream;
}

void expect_whole(ssize_t done, std::size_t wanted, const char* what) {
  if (checked(done, what) != static_cast<long>(wanted)) {
    throw std::runtime_error(std::string(what) + ": short");
  }
}

void read_file(int parent, const char* name) {
  std::array<char, 65536> buffer{};
  const int fd = static_cast<int>(checked(::openat(parent, name, O_RDONLY | O_CLOEXEC), name));
  while (checked(::read(fd, buffer.data(), buffer.size()), "read") > 0) {
  }
  ::close(fd);
}

std::uint64_t walk(DIR* directory, Visit visit) {  // NOLINT(misc-no-recursion): as deep as the tree
  std::uint64_t seen = 0;
  const int fd = ::dirfd(directory);
  while (const dirent* const entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") {
      continue;
    }
    ++seen;
    // Who only reads need not ask for attributes, as the listing tells the type. That would be
    // other work: FUSE forgets the access time at a read, and then has to ask for it.
    unsigned char type = entry->d_type;
    if (visit == Visit::kStat || type == DT_UNKNOWN) {
      struct stat attributes = {};
      checked(::fstatat(fd, entry->d_name, &attributes, AT_SYMLINK_NOFOLLOW), "lstat");
      type = static_cast<unsigned char>(IFTODT(attributes.st_mode));
    }
    if (type == DT_DIR) {
      seen += walk(open_directory(fd, entry->d_name).get(), visit);
    } else if (visit == Visit::kRead && type == DT_REG) {
      read_file(fd, entry->d_name);
    }
  }
  return seen;
}

}  // namespace

OpenFile::OpenFile(const std::string& path, int flags)
    : fd_(static_cast<int>(checked(::open(path.c_str(), flags | O_CLOEXEC, 0644), path))) {}

OpenFile::~OpenFile() { ::close(fd_); }

void OpenFile::write(const char* bytes, std::size_t size) const {
  expect_whole(::write(fd_, bytes, size), size, "write");
}

void OpenFile::write_at(const char* bytes, std::size_t size, std::uint64_t offset) const {
  expect_whole(::pwrite(fd_, bytes, size, static_cast<off_t>(offset)), size, "pwrite");
}

void OpenFile::read_at(char* bytes, std::size_t size, std::uint64_t offset) const {
  expect_whole(::pread(fd_, bytes, size, static_cast<off_t>(offset)), size, "pread");
}

std::uint64_t OpenFile::read_all(char* buffer, std::size_t size) const {
  std::uint64_t all = 0;
  for (;;) {
    const auto got = checked(::read(fd_, buffer, size), "read");
    if (got == 0) {
      return all;
    }
    all += static_cast<std::uint64_t>(got);
  }
}

void OpenFile::sync() const { checked(::fsync(fd_), "fsync"); }

std::uint64_t walk(const std::string& directory, Visit visit) {
  return walk(open_directory(AT_FDCWD, directory.c_str()).get(), visit);
}

std::uint64_t count_entries(const std::string& directory) {
  const DirectoryStream stream = open_directory(AT_FDCWD, directory.c_str());
  std::uint64_t entries = 0;
  // Not every filesystem lists . and ..
  while (const dirent* const entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    entries += name == "." || name == ".." ? 0U : 1U;
  }
  return entries;
}

}  // namespace plyfs::bench
