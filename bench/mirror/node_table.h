// All nodes of the mirror, found by parent and name.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>

#include "base/chain_table.h"
#include "node.h"

namespace plyfs::mirror {

/// Owns the nodes. Thread-safe; no lock is held over a system call, but for close(2).
class NodeTable {
 public:
  NodeTable();
  ~NodeTable();
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;

  [[nodiscard]] Node& root() { return *root_; }
  /// The kernel keeps no times of its own: none is ever given back.
  void show_times_of_files() { keeps_mtime_ = false; }
  /// The node of that name, one lookup more; made if there is none. `attributes` become what the
  /// kernel knows, unless it has known the node before: then `attributes` get its mtime.
  Node& enter(Node& parent, std::string_view name, struct stat& attributes);
  /// A node without a name, one lookup.
  Node& enter_unnamed(const struct stat& attributes);
  /// Null: unknown to the kernel. Valid while Mirror::names is held exclusively.
  Node* find(const Node& parent, std::string_view name);
  /// One lookup more of a node that the kernel knows.
  void count_lookup(Node& node);
  /// Returns whether the node was freed. `last` is called before that if its file is still to get
  /// its mtime.
  bool forget(Node& node, std::uint64_t lookups, const std::function<void(Node&)>& last);
  /// Mirror::names is held exclusively for these.
  void lose_name(Node& node);
  void move(Node& node, Node& parent, std::string_view name);

  /// The kernel's mtime of the file is now this, and so is the file's own.
  void note_mtime(Node& node, const timespec& mtime);
  /// A WRITE moved the file's own mtime.
  void note_write(Node& node);
  /// What the file owes; from then on it owes nothing.
  std::optional<timespec> take_mtime(Node& node);
  /// Calls `body` with each node. By a thread that is alone.
  void for_each(const std::function<void(Node&)>& body);

 private:
  static std::uint64_t hash_of(const Node& parent, std::string_view name);
  Node* find_locked(const Node& parent, std::string_view name, std::uint64_t hash);
  void put(Node& node, Node* parent, std::string_view name, std::uint64_t hash);
  void take_out(Node& node);
  void free_unused(Node* node);

  bool keeps_mtime_ = true;
  std::mutex mu_;
  ChainTable<Node, NodeLinks> nodes_;
  Node* root_;
};

}  // namespace plyfs::mirror
