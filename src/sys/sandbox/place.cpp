#include "sys/sandbox/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <deque>
#include <vector>

#include "base/path_components.h"

namespace plyfs::sys::sandbox {
namespace {

Result<UniqueFd> open_name(BorrowedFd directory, const std::string& name) {
  UniqueFd found{::openat(directory.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  if (!found.valid()) {
    return Errno{errno};
  }
  return found;
}

Status make(BorrowedFd directory, const std::string& name, bool file) {
  if (!file) {
    return ::mkdirat(directory.get(), name.c_str(), 0755) == 0 ? Status{} : Status{Errno{errno}};
  }
  const UniqueFd made{::openat(directory.get(), name.c_str(),
                               O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644)};
  return made.valid() ? Status{} : Status{Errno{errno}};
}

Result<bool> is_link(BorrowedFd object) {
  struct stat facts {};
  if (::fstat(object.get(), &facts) != 0) {
    return Errno{errno};
  }
  return S_ISLNK(facts.st_mode);
}

/// Where a walk has come to: the directories from the root down.
class Way {
 public:
  explicit Way(BorrowedFd root) : root_(root) {}
  [[nodiscard]] BorrowedFd here() const { return below_.empty() ? root_ : below_.back().borrow(); }
  void enter(UniqueFd directory) { below_.push_back(std::move(directory)); }
  void leave() {
    if (!below_.empty()) {
      below_.pop_back();
    }
  }
  void restart() { below_.clear(); }

 private:
  BorrowedFd root_;
  std::vector<UniqueFd> below_;
};

Status follow(BorrowedFd link, Way& way, std::deque<std::string>& rest) {
  char target[PATH_MAX];
  const ssize_t size = ::readlinkat(link.get(), "", target, sizeof target);
  if (size < 0) {
    return Errno{errno};
  }
  const std::string text{target, static_cast<std::size_t>(size)};
  if (text.starts_with('/')) {
    way.restart();
  }
  go_by_link(rest, text);
  return {};
}

}  // namespace

Result<UniqueFd> place_in_root(BorrowedFd root, const std::string& path, Missing missing) {
  Way way{root};
  std::deque<std::string> rest = path_components(path);
  int links = 0;
  while (!rest.empty()) {
    const std::string name = std::move(rest.front());
    rest.pop_front();
    if (name == "." || name == "..") {
      name == ".." ? way.leave() : void();
      continue;
    }
    auto found = open_name(way.here(), name);
    if (!found && found.error() == ENOENT) {
      TRY(make(way.here(), name, rest.empty() && missing == Missing::kMakeFile));
      found = open_name(way.here(), name);
    }
    UniqueFd object = TRY(std::move(found));
    if (TRY(is_link(object.borrow()))) {
      if (++links > kMostLinks) {
        return Errno{ELOOP};
      }
      TRY(follow(object.borrow(), way, rest));
      continue;
    }
    if (rest.empty()) {
      return object;
    }
    way.enter(std::move(object));
  }
  return Errno{EBUSY};  // the root itself
}

}  // namespace plyfs::sys::sandbox
