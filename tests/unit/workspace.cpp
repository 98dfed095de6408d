#include "workspace.h"

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace plyfs::test {

Workspace::Workspace() : Workspace(std::filesystem::temp_directory_path()) {}

Workspace::Workspace(const std::filesystem::path& room) {
  std::string name = (room / "plyfs-unit-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw std::runtime_error("cannot make " + name);
  }
  root_ = name;
  std::filesystem::permissions(root_, std::filesystem::perms{0755});  // other users look in, too
}

Workspace::~Workspace() {
  std::error_code ignored;
  std::filesystem::remove_all(root_, ignored);
}

std::string Workspace::path(const std::string& name) const {
  return name.empty() ? root_.string() : root_.string() + "/" + name;
}

std::string Workspace::make_directory(const std::string& name) const {
  std::filesystem::create_directories(root_ / name);
  return path(name);
}

std::string Workspace::make_file(const std::string& name) const {
  std::ofstream(path(name)) << "content\n";
  return path(name);
}

}  // namespace plyfs::test
