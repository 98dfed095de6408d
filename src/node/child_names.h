// The known names in one directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "layer/layer_stack.h"

namespace plyfs::node {

class Node;

/// A name of a node. Immutable but for its links; guarded by NodeTable::mu. While the DirLock of
/// `parent` is held (any mode), it is neither moved nor freed.
struct Dentry {
  Node* parent;
  Node* node;
  Dentry* hash_next;
  Dentry* next_name;  ///< further names of the same node (hard links)
  std::uint32_t hash;
  layer::LayerIndex layer;  ///< where this name was found; kUpper once copied up
  std::uint8_t name_size;
  char name[1];  ///< NUL-terminated, allocated behind the struct

  [[nodiscard]] std::string_view view() const { return {name, name_size}; }
};

/// A hash table of each directory's own, as large as the number of names. Who reads a directory
/// finds and makes its names one after the other, and so stays in a few lines of the processor's
/// cache; a table of all names costs a miss for each. Guarded by NodeTable::mu; owns nothing.
class ChildNames {
 public:
  [[nodiscard]] bool empty() const { return count_ == 0; }
  /// Null when there is no such name.
  [[nodiscard]] Dentry* find(std::string_view name, std::uint32_t hash) const;
  /// For one more name, which insert() then cannot fail to take. Throws std::bad_alloc.
  void make_room();
  void insert(Dentry& dentry);
  void erase(Dentry& dentry);
  /// Calls `visit(Dentry*)` with each, which may free it; afterwards there is none.
  template <typename Visit>
  void take_all(const Visit& visit) {
    for (Dentry* at : buckets_) {
      while (at != nullptr) {
        Dentry* const next = at->hash_next;
        visit(at);
        at = next;
      }
    }
    buckets_.clear();
    count_ = 0;
  }

 private:
  [[nodiscard]] Dentry*& bucket(std::uint32_t hash) {
    return buckets_[hash & (buckets_.size() - 1)];
  }
  void resize(std::size_t size);

  std::vector<Dentry*> buckets_;  ///< a power of two, or none
  std::size_t count_ = 0;
};

std::uint32_t hash_of_name(std::string_view name);

}  // namespace plyfs::node
