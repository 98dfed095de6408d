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
#include <utility>
#include <vector>

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

/// Removes a tree however deep it is: one descriptor is open, of the directory at hand, and the way
/// back leads by "..", which must be where we came from.
class TreeRemoval {
 public:
  explicit TreeRemoval(BorrowedFd parent) : parent_(parent) {}

  Status run(const char* name) {
    TRY(remove_or_enter(parent_, name));
    while (!levels_.empty()) {
      Level& level = levels_.back();
      if (level.names.empty()) {
        TRY(leave());
        continue;
      }
      const std::string next = std::move(level.names.back());
      level.names.pop_back();
      TRY(remove_or_enter(here_.borrow(), next.c_str()));
    }
    return {};
  }

 private:
  struct Level {
    std::string name;
    dev_t dev = 0;
    ino_t ino = 0;
    std::vector<std::string> names;  ///< not looked at yet
  };

  Status remove_or_enter(BorrowedFd dir, const char* name) {
    const Status removed = unlink_file(dir, name);
    if (removed || removed.error() == ENOENT) {
      return {};
    }
    const bool may_be_directory = removed.error() == EISDIR || removed.error() == EPERM;
    return may_be_directory ? enter(dir, name) : removed;
  }

  Status enter(BorrowedFd dir, const char* name) {
    auto opened = open_listing({dir, name});
    if (!opened && opened.error() == EACCES) {
      TRY(change_mode({dir, name}, kOwnerAll));
      opened = open_listing({dir, name});
    }
    if (!opened) {
      return opened.error() == ENOENT ? Status{} : Status{opened.error()};
    }
    const FileStat stat = TRY(stat_object({opened->borrow(), ""}));
    if ((stat.mode & kOwnerAll) != kOwnerAll) {
      // Where it is not ours to change, what is in it tells the error.
      (void)change_mode({opened->borrow(), ""}, kOwnerAll);
    }
    Level level{name, stat.dev, stat.ino, {}};
    const Status listed = read_directory(opened->borrow(), [&](const RawEntry& entry) {
      level.names.emplace_back(entry.name, entry.name_size);
      return Visit::kContinue;
    });
    if (!listed && listed.error() != ENOENT) {  // somebody else removed it meanwhile
      return listed;
    }
    here_ = *std::move(opened);
    levels_.push_back(std::move(level));
    return {};
  }

  Status leave() {
    const std::string name = std::move(levels_.back().name);
    levels_.pop_back();
    if (levels_.empty()) {
      return removed(remove_directory(parent_, name.c_str()));
    }
    UniqueFd above = TRY(open_directory_at(here_.borrow(), ".."));
    const FileStat stat = TRY(stat_object({above.borrow(), ""}));
    if (stat.dev != levels_.back().dev || stat.ino != levels_.back().ino) {
      return Errno{EBUSY};  // moved meanwhile
    }
    here_ = std::move(above);
    return removed(remove_directory(here_.borrow(), name.c_str()));
  }

  static Status removed(const Status& gone) {
    return gone || gone.error() == ENOENT ? Status{} : gone;
  }

  const BorrowedFd parent_;
  UniqueFd here_;
  std::vector<Level> levels_;
};

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
  return TreeRemoval{parent.borrow()}.run(path.c_str() + path.rfind('/') + 1);
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
