// What the generator believes exists. A belief only: operations that fail leave it wrong, which is
// welcome now and then; most choices still hit something that is there.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "layers.h"

namespace plyfs::difftest {

enum class PathKind : std::uint8_t { kDirectory, kFile, kSymlink, kOther };

class PathModel {
 public:
  /// Starts with the union of the layers.
  explicit PathModel(const std::vector<LayerEntry>& layers);

  [[nodiscard]] const std::map<std::string, PathKind>& paths() const { return paths_; }
  [[nodiscard]] bool has(const std::string& path) const { return paths_.count(path) != 0; }
  /// All paths of a kind; the root (empty path) is among the directories.
  [[nodiscard]] std::vector<std::string> of_kind(PathKind kind) const;

  void add(const std::string& path, PathKind kind);
  /// Removes a path and everything under it.
  void remove(const std::string& path);
  void move(const std::string& from, const std::string& to);
  void exchange(const std::string& left, const std::string& right);

 private:
  using Paths = std::map<std::string, PathKind>;
  Paths take(const std::string& path);
  void put(const Paths& subtree, const std::string& from, const std::string& to);

  Paths paths_;
};

/// Whether `path` is `directory` or lies under it.
bool is_under(const std::string& path, const std::string& directory);

}  // namespace plyfs::difftest
