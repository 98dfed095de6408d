// The known names in one directory.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/chain_table.h"
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

struct DentryLinks {
  static Dentry*& next(Dentry& dentry) { return dentry.hash_next; }
  static std::uint64_t hash(const Dentry& dentry) { return dentry.hash; }
};

/// Of each directory its own. Who reads a directory finds and makes its names one after the other,
/// and so stays in a few lines of the processor's cache; a table of all names costs a miss for
/// each. Guarded by NodeTable::mu.
using ChildNames = ChainTable<Dentry, DentryLinks>;

}  // namespace plyfs::node
