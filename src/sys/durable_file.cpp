#include "sys/durable_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "sys/checked.h"
#include "sys/dir_ops.h"
#include "sys/dir_stream.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::sys {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 20;
constexpr mode_t kOwnerAll = 0700;

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
}

Status remove_at(BorrowedFd dir, const char* name);

Status remove_content(BorrowedFd directory) {
  std::string names;
  const Status listed = read_directory(directory, [&](const RawEntry& entry) {
    names.append(entry.name, entry.name_size).push_back('\0');
    return Visit::kContinue;
  });
  if (!listed) {
    return listed.error() == ENOENT ? Status{} : listed;  // somebody else removed it meanwhile
  }
  for (std::size_t at = 0; at < names.size(); at += std::string_view{&names[at]}.size() + 1) {
    TRY(remove_at(directory, &names[at]));
  }
  return {};
}

Status remove_at(BorrowedFd dir, const char* name) {
  const Status removed = unlink_file(dir, name);
  if (removed || removed.error() == ENOENT) {
    return {};
  }
  if (removed.error() != EISDIR && removed.error() != EPERM) {
    return removed.error();
  }
  auto directory = open_listing({dir, name});
  if (!directory && directory.error() == EACCES) {
    TRY(change_mode({dir, name}, kOwnerAll));
    directory = open_listing({dir, name});
  }
  if (!directory) {
    return directory.error() == ENOENT ? Status{} : Status{directory.error()};
  }
  Status emptied = remove_content(directory->borrow());
  if (!emptied && emptied.error() == EACCES) {
    TRY(change_mode({directory->borrow(), ""}, kOwnerAll));
    emptied = remove_content(directory->borrow());
  }
  TRY(std::move(emptied));
  const Status gone = remove_directory(dir, name);
  return gone || gone.error() == ENOENT ? Status{} : gone;
}

}  // namespace

Result<UniqueFd> open_lock_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return Errno{errno};
  }
  return UniqueFd{fd};
}

Status lock_file(BorrowedFd file, LockKind kind, LockWait wait) {
  const int operation =
      (kind == LockKind::kShared ? LOCK_SH : LOCK_EX) | (wait == LockWait::kNo ? LOCK_NB : 0);
  while (::flock(file.get(), operation) != 0) {
    if (errno != EINTR) {
      return Errno{errno};
    }
  }
  return {};
}

Status write_durably(const std::string& path, std::string_view content) {
  const std::string aside = path + ".new-" + TRY(random_hex(4));
  const UniqueFd file{
      ::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!file.valid()) {
    return Errno{errno};
  }
  const auto finish = [&]() -> Status {
    TRY(write_all_at(file.borrow(), content.data(), content.size(), 0));
    TRY(sync_all(file.borrow()));
    if (::rename(aside.c_str(), path.c_str()) != 0) {
      return Errno{errno};
    }
    return sync_directory(parent_of(path));
  };
  const Status finished = finish();
  if (!finished) {
    (void)::unlink(aside.c_str());  // after the rename it is not there
  }
  return finished;
}

Status save_durably(const std::string& path, std::string_view content) {
  std::error_code error;
  const auto type = std::filesystem::symlink_status(path, error).type();
  if (type == std::filesystem::file_type::not_found ||
      type == std::filesystem::file_type::regular) {
    return write_durably(path, content);
  }
  if (type != std::filesystem::file_type::symlink) {
    return Errno{type == std::filesystem::file_type::none ? error.value() : EINVAL};
  }
  const auto target = std::filesystem::canonical(path, error);
  if (error) {
    return Errno{error.value()};
  }
  const bool regular = std::filesystem::is_regular_file(target, error);
  return regular ? write_durably(target.string(), content) : Status{Errno{EINVAL}};
}

Result<std::string> read_file(const std::string& path) {
  const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file.valid()) {
    return Errno{errno};
  }
  std::string content;
  std::array<char, 16384> piece{};
  while (true) {
    const auto got = TRY(read_at(file.borrow(), piece.data(), piece.size(),
                                 static_cast<std::int64_t>(content.size())));
    content.append(piece.data(), got);
    if (got < piece.size()) {
      return content;
    }
    if (content.size() > kMostBytes) {
      return Errno{EFBIG};
    }
  }
}

Status sync_directory(const std::string& path) {
  const UniqueFd directory{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!directory.valid()) {
    return Errno{errno};
  }
  return sync_all(directory.borrow());
}

Status exchange(const std::string& a, const std::string& b) {
  return checked(::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE));
}

Status remove_tree(const std::string& path) {
  const UniqueFd parent{::open(parent_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!parent.valid()) {
    return errno == ENOENT ? Status{} : Status{Errno{errno}};
  }
  return remove_at(parent.borrow(), path.c_str() + path.rfind('/') + 1);
}

Result<std::string> random_hex(std::size_t bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string raw(bytes, '\0');
  if (::getrandom(raw.data(), raw.size(), 0) != static_cast<ssize_t>(bytes)) {
    return Errno{errno};
  }
  std::string text;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    text.append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
  }
  return text;
}

}  // namespace plyfs::sys
