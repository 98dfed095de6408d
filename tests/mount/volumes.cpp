#include "volumes.h"

#include <dirent.h>
#include <sys/stat.h>

#include <cstdlib>
#include <stdexcept>

#include "workspace.h"

namespace plyfs::tests {
namespace {

System with_mode(const std::string& mode) {
  System system = plyfs_only().front();
  system.name += "-" + mode;
  system.options = "volume_mode=" + mode;
  return system;
}

/// A new directory in $PLYFS_TEST_VOLUMES, else in the workspace.
std::string fresh_source() {
  const char* const parent = std::getenv("PLYFS_TEST_VOLUMES");
  if (parent == nullptr) {
    return fresh_directory();
  }
  std::string path = std::string{parent} + "/volume-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr || ::chmod(path.c_str(), 0755) != 0) {
    throw std::runtime_error("PLYFS_TEST_VOLUMES: " + outcome(-1));
  }
  return path;
}

}  // namespace

Systems served_volumes() {
  Systems systems = plyfs_only();
  return systems.empty() ? systems : Systems{with_mode("fuse")};
}

Systems volume_modes() {
  Systems systems = served_volumes();
  if (!systems.empty() && is_root()) {
    systems.push_back(with_mode("bind"));
  }
  return systems;
}

HostDirectory::HostDirectory(const Items& items) : root_(fresh_source()) {
  make_tree(root_, items, overlay_prefix());
}

HostDirectory::~HostDirectory() { remove_tree(root_); }

std::string HostDirectory::operator()(const std::string& path) const {
  return path.empty() ? root_ : root_ + "/" + path;
}

std::string volume(const std::string& source, const std::string& destination,
                   const std::string& options) {
  return "volume=" + source + ":" + destination + (options.empty() ? "" : ":" + options);
}

std::vector<std::string> listed_unlike_stat(const std::string& path) {
  std::vector<std::string> wrong;
  DIR* const stream = ::opendir(path.c_str());
  if (stream == nullptr) {
    return {"<" + outcome(-1) + ">"};
  }
  while (const dirent* const entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (name == "..") {
      continue;  // of the root of a mount it is outside
    }
    const struct stat found = status(path + "/" + name);
    if (found.st_ino != entry->d_ino || IFTODT(found.st_mode) != entry->d_type) {
      wrong.push_back(name);
    }
  }
  (void)::closedir(stream);
  return wrong;
}

}  // namespace plyfs::tests
