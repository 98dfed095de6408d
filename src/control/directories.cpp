#include "control/directories.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/hash.h"
#include "sys/process_facts.h"

namespace plyfs::control {
namespace {

constexpr const char* kSuffix = ".sock";

}  // namespace

std::vector<std::string> socket_directories() {
  std::vector<std::string> directories;
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (sys::effective_uid() == 0) {
    directories.emplace_back("/run/plyfs");
  }
  // Root of a user namespace may not write to /run: it meets its own user outside.
  if (runtime != nullptr && *runtime == '/') {
    directories.push_back(std::string{runtime} + "/plyfs");
  }
  directories.push_back("/tmp/plyfs-" + std::to_string(sys::outside_uid()));
  // Anybody may have made the one in /tmp.
  const char* const home = std::getenv("HOME");
  if (home != nullptr && *home == '/' && std::string_view{home} != "/") {
    directories.push_back(std::string{home} + "/.plyfs-run");
  }
  return directories;
}

std::string socket_prefix(const std::string& mountpoint) {
  char text[20];
  (void)std::snprintf(text, sizeof text, "%016llx",
                      static_cast<unsigned long long>(hash_bytes(mountpoint)));
  return text;
}

std::string socket_name(const std::string& mountpoint, int pid) {
  return socket_prefix(mountpoint) + '-' + std::to_string(pid) + kSuffix;
}

std::optional<int> pid_of_socket(const std::string& name) {
  const std::size_t dash = name.rfind('-');
  if (dash == std::string::npos || !name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  int pid = 0;
  const char* const end = name.data() + name.size() - std::strlen(kSuffix);
  const auto [stop, error] = std::from_chars(name.data() + dash + 1, end, pid);
  return error == std::errc{} && stop == end && pid > 0 ? std::optional{pid} : std::nullopt;
}

}  // namespace plyfs::control
