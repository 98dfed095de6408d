// Open handles of directories in their layers, reopened on demand from the nearest open ancestor.
#pragma once

#include <array>

#include "node/node_table.h"
#include "sys/fd_slots.h"

namespace plyfs::node {

/// Thread-safe. Callers hold the tree lock (any mode), so that no directory moves.
class DirectoryHandles {
 public:
  DirectoryHandles(const layer::LayerStack& stack, NodeTable& table, std::size_t capacity)
      : stack_(stack), table_(table), cache_(capacity) {}

  /// Handle of `directory` in the layer of `part`, which is its part there. ENOENT when removed;
  /// EXDEV where the host has mounted something over a part that was `unopened`.
  Result<sys::FdPin> open(Node& directory, const merge::DirectoryPart& part);
  /// How to name it to ask for its attributes: by its handle where there is one, otherwise by its
  /// name in its parent. `name` lives as long as the tree lock is held.
  struct Way {
    sys::FdPin directory;
    const char* name = "";
  };
  Result<Way> way_to(Node& directory, const merge::DirectoryPart& part);
  /// To be read by the caller alone, from the beginning. It becomes the handle if there is none,
  /// since a program that lists a directory then asks about what is in it. Null where the directory
  /// is not under its name in its parent's.
  Result<sys::FdPin> open_listed(Node& directory, const merge::DirectoryPart& part,
                                 sys::QuietReads* quiet);
  /// Path of the directory in that layer, from the layer's root.
  std::string path(Node& directory, const merge::DirectoryPart& part);
  /// Drops every cached handle of the node.
  void forget(Node& directory);
  [[nodiscard]] sys::FdCache::Statistics statistics() { return cache_.statistics(); }

 private:
  Result<sys::UniqueFd> open_uncached(Node& directory, const merge::DirectoryPart& part);
  /// Null where it is not under its name in the same layer's part of its parent.
  Result<Way> way_by_name(Node& directory, const merge::DirectoryPart& part);
  Result<sys::UniqueFd> open_path(layer::LayerIndex layer, const std::string& path,
                                  sys::Mounts mounts);

  const layer::LayerStack& stack_;
  NodeTable& table_;
  sys::FdSlots cache_;
};

/// The part of a directory in `layer`; null when it has none.
merge::DirectoryPart* part_in(Node& directory, layer::LayerIndex layer);

/// A node as merge/ sees a directory. Holds no lock: the caller holds tree and DirLock.
class NodeDirectory final : public merge::DirectoryAccess {
 public:
  NodeDirectory(DirectoryHandles& handles, Node& node) : handles_(handles), node_(node) {}
  [[nodiscard]] merge::DirectoryParts& parts() override { return node_.directory().parts; }
  /// The first few stay open as long as this lives: reading many names asks for them each time.
  Result<sys::FdPin> open_part(std::size_t index) override {
    if (index >= held_.size()) {
      return handles_.open(node_, parts()[index]);
    }
    if (!held_[index]) {
      held_[index] = TRY(handles_.open(node_, parts()[index]));
    }
    return held_[index];
  }
  Result<sys::FdPin> open_to_list(std::size_t index, sys::QuietReads* quiet) override {
    // What fails there fails here again, and is told.
    sys::FdPin opened = handles_.open_listed(node_, parts()[index], quiet).value_or(nullptr);
    return opened ? std::move(opened) : DirectoryAccess::open_to_list(index, quiet);
  }
  [[nodiscard]] std::string part_path(std::size_t index) override {
    return handles_.path(node_, parts()[index]);
  }

 private:
  DirectoryHandles& handles_;
  Node& node_;
  std::array<sys::FdPin, 8> held_;
};

}  // namespace plyfs::node
