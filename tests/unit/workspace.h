// A directory of its own for each test case, removed at the end.
#pragma once

#include <filesystem>
#include <string>

namespace plyfs::test {

class Workspace {
 public:
  Workspace();
  /// In `room` instead of the directory for temporary files.
  explicit Workspace(const std::filesystem::path& room);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  [[nodiscard]] std::string path(const std::string& name = {}) const;
  /// Makes the directory and its parents; returns its path.
  std::string make_directory(const std::string& name) const;  // NOLINT(modernize-use-nodiscard)
  std::string make_file(const std::string& name) const;       // NOLINT(modernize-use-nodiscard)

 private:
  std::filesystem::path root_;
};

}  // namespace plyfs::test
