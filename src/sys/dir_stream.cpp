#include "sys/dir_stream.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <memory>

namespace plyfs::sys {
namespace {

// linux_dirent64, see getdents64(2).
struct Dirent64 {
  std::uint64_t ino;
  std::int64_t offset;
  std::uint16_t record_size;
  std::uint8_t type;
  char name[1];
};

bool is_dot(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

enum class Dots : std::uint8_t { kSkip, kVisit };

Visit visit_piece(const char* buffer, long size, Dots dots,
                  const std::function<Visit(const RawEntry&)>& visit) {
  for (long at = 0; at < size;) {
    Dirent64 entry{};
    std::memcpy(&entry, buffer + at, offsetof(Dirent64, name));
    const char* name = buffer + at + offsetof(Dirent64, name);
    at += entry.record_size;
    if (dots == Dots::kSkip && is_dot(name)) {
      continue;
    }
    const RawEntry raw{name, std::strlen(name), entry.ino, entry.type, entry.offset};
    if (visit(raw) == Visit::kStop) {
      return Visit::kStop;
    }
  }
  return Visit::kContinue;
}

}  // namespace

Status read_directory(BorrowedFd directory, const std::function<Visit(const RawEntry&)>& visit) {
  // Small directories are the rule: they are read to the stack.
  constexpr std::size_t kSmall = 8192;
  constexpr std::size_t kLarge = 128 * 1024;
  alignas(Dirent64) char small[kSmall];
  std::unique_ptr<char[]> large;
  char* buffer = small;
  std::size_t buffer_size = kSmall;
  for (;;) {
    const long got = ::syscall(SYS_getdents64, directory.get(), buffer, buffer_size);
    if (got < 0) {
      return Errno{errno};
    }
    if (got == 0) {
      return {};
    }
    if (visit_piece(buffer, got, Dots::kSkip, visit) == Visit::kStop) {
      return {};
    }
    if (!large && static_cast<std::size_t>(got) > kSmall / 2) {
      large = std::make_unique_for_overwrite<char[]>(kLarge);
      buffer = large.get();
      buffer_size = kLarge;
    }
  }
}

Status begin_reading(BorrowedFd directory) {
  constexpr std::size_t kLongestEntry = 1024;
  alignas(Dirent64) char buffer[kLongestEntry];
  const long got = ::syscall(SYS_getdents64, directory.get(), buffer, sizeof buffer);
  return got < 0 ? Status{Errno{errno}} : Status{};
}

Status read_directory_from(BorrowedFd directory, std::int64_t offset, std::size_t piece_bytes,
                           const std::function<Visit(const RawEntry&)>& visit) {
  if (::lseek(directory.get(), offset, SEEK_SET) < 0) {
    return Errno{errno};
  }
  const auto buffer = std::make_unique_for_overwrite<char[]>(piece_bytes);
  for (;;) {
    const long got = ::syscall(SYS_getdents64, directory.get(), buffer.get(), piece_bytes);
    if (got < 0) {
      return Errno{errno};
    }
    if (got == 0 || visit_piece(buffer.get(), got, Dots::kVisit, visit) == Visit::kStop) {
      return {};
    }
  }
}

}  // namespace plyfs::sys
