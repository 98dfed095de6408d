// Where volumes appear in the tree: names that belong to the mount, whatever lies beneath.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "volume/volume_nodes.h"

namespace plyfs::volume {

/// Identity of a directory of the union or of a volume; the caller keeps it alive. Opaque here.
using DirectoryId = std::uint64_t;

/// Const once the mount serves; thread-safe then.
class MountPoints {
 public:
  struct Entry {
    std::string name;
    VolumeNode* root = nullptr;  ///< null: a directory above a mount point
  };

  /// False when the name is taken by another mount point.
  bool add(DirectoryId parent, std::string_view name, VolumeNode& root);
  /// A directory above a mount point: it must stay where it is.
  void keep(DirectoryId parent, std::string_view name);

  /// Null where no volume appears at that name.
  [[nodiscard]] VolumeNode* find(DirectoryId parent, std::string_view name) const;
  /// A mount point, or a directory above one.
  [[nodiscard]] bool is_kept(DirectoryId parent, std::string_view name) const;
  /// All of a directory; null when it has none.
  [[nodiscard]] const std::vector<Entry>* in(DirectoryId parent) const;
  [[nodiscard]] bool empty() const { return directories_.empty(); }

 private:
  [[nodiscard]] const Entry* entry(DirectoryId parent, std::string_view name) const;

  std::map<DirectoryId, std::vector<Entry>> directories_;
};

}  // namespace plyfs::volume
