// The names in a path, for walks that take one step after the other.
#pragma once

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>

namespace plyfs {

/// As many symbolic links as the kernel follows on one walk (path_resolution(7)).
inline constexpr int kMostLinks = 40;

/// "/a//b/" gives "a", "b"; "." and ".." stay.
inline std::deque<std::string> path_components(std::string_view path) {
  std::deque<std::string> components;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (end > at) {
      components.emplace_back(path.substr(at, end - at));
    }
    at = end + 1;
  }
  return components;
}

/// A walk meets a link: the names of its target come before what is left of the path.
inline void go_by_link(std::deque<std::string>& rest, std::string_view target) {
  const std::deque<std::string> components = path_components(target);
  rest.insert(rest.begin(), components.begin(), components.end());
}

}  // namespace plyfs
