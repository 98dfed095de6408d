#include "sys/trusted_path.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <system_error>

#include "base/path_components.h"

namespace plyfs::sys {
namespace {

/// In a sticky directory (/tmp) others make names, but take none of root's away.
bool is_open_to_others(const struct stat& directory, bool is_last) {
  const bool group = (directory.st_mode & S_IWGRP) != 0 && directory.st_gid != 0;
  const bool others = (directory.st_mode & S_IWOTH) != 0;
  return (group || others) && (is_last || (directory.st_mode & S_ISVTX) == 0);
}

}  // namespace

// What is looked at first cannot be changed by others while the rest is looked at.
Result<std::optional<Untrusted>> find_untrusted(const std::string& path) {
  using Found = std::optional<Untrusted>;
  std::deque<std::string> rest = path_components(path);
  rest.push_front("/");
  std::string above;
  for (int links = 0; !rest.empty();) {
    const std::string name = std::move(rest.front());
    rest.pop_front();
    if (name == ".") {
      continue;
    }
    if (name == "..") {
      above.resize(std::min(above.rfind('/'), above.size()));
      continue;
    }
    const std::string next = name == "/" ? name : above + '/' + name;
    struct stat found {};
    if (::lstat(next.c_str(), &found) != 0) {
      return errno == ENOENT ? Result<Found>{Found{}} : Errno{errno};
    }
    if (found.st_uid != 0) {
      return Found{Untrusted{next, found.st_uid}};
    }
    if (S_ISLNK(found.st_mode)) {
      std::error_code error;
      const std::string target = std::filesystem::read_symlink(next, error).string();
      if (error || ++links > kMostLinks) {
        return Errno{error ? error.value() : ELOOP};
      }
      go_by_link(rest, target);
      above = target.starts_with('/') ? "" : above;
      continue;
    }
    if (!S_ISDIR(found.st_mode)) {
      return Errno{ENOTDIR};
    }
    if (is_open_to_others(found, rest.empty())) {
      return Found{Untrusted{next, 0}};
    }
    above = name == "/" ? "" : next;
  }
  return Found{};
}

}  // namespace plyfs::sys
