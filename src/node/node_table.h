// The table of everything the kernel (or a running operation) knows.
#pragma once

#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/mutex.h"
#include "node/node.h"
#include "plyfs/result.h"

namespace plyfs::node {

class NodeTable;

/// Keeps a node alive while an operation works on it. Move-only.
class NodeRef {
 public:
  NodeRef() = default;
  NodeRef(NodeTable& table, Node* node) : table_(&table), node_(node) {}
  NodeRef(NodeRef&& other) noexcept
      : table_(other.table_), node_(std::exchange(other.node_, nullptr)) {}
  NodeRef& operator=(NodeRef&& other) noexcept;
  NodeRef(const NodeRef&) = delete;
  NodeRef& operator=(const NodeRef&) = delete;
  ~NodeRef() { reset(); }
  void reset();
  /// The reference becomes one of the kernel's lookups.
  Node* give_to_kernel() { return std::exchange(node_, nullptr); }
  explicit operator bool() const { return node_ != nullptr; }
  Node& operator*() const { return *node_; }
  Node* operator->() const { return node_; }
  [[nodiscard]] Node* get() const { return node_; }

 private:
  NodeTable* table_ = nullptr;
  Node* node_ = nullptr;
};

/// Everything a new node starts with.
struct NodeSeed {
  std::uint8_t entry_type = 0;
  layer::LayerIndex layer = 0;
  std::uint64_t ino = 0;
  merge::DirectoryParts parts;         ///< directories
  std::optional<FileStat> lower_stat;  ///< directories that only lower layers have, as shown
  std::unique_ptr<const std::string> lower_path;
  std::optional<LinkKey> lower_key;  ///< hard-linked lower files
  std::optional<LinkKey> upper_key;  ///< hard-linked upper files
  std::string index_name;
  std::int64_t union_nlink = 0;
  std::optional<merge::DataLocation> data;
  bool told = false;  ///< a listing makes it
};

/// How an operation reaches a node's object. Plain copy of guarded state.
struct NodeNames {
  Node* parent = nullptr;          ///< null: no name (orphan or the root)
  const Dentry* dentry = nullptr;  ///< valid while the parent's DirLock is held
  std::string index_name;
  Orphan orphan;
};

/// Thread-safe. One short mutex, never held across a system call.
class NodeTable {
 public:
  /// `release` is called, without the lock, for every node about to be freed (its descriptors).
  explicit NodeTable(std::function<void(Node&)> release);
  ~NodeTable() { clear(); }
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;

  /// Frees everything: after the unmount, when nodes are still counted because the kernel sends no
  /// FORGET then. No other call may be under way or follow.
  void clear();

  void make_root(NodeSeed seed);
  [[nodiscard]] Node& root() { return *root_; }

  NodeRef ref(Node& node);
  /// Null when nobody knows that name.
  NodeRef find(Node& parent, std::string_view name);
  /// The same for a listing: whether one told the node's attributes before, and nobody has asked
  /// for its names since.
  struct Listed {
    NodeRef node;
    bool told = false;
  };
  Listed find_listed(Node& parent, std::string_view name);
  void set_told(Node& node);
  /// Whether any name in the directory is known.
  [[nodiscard]] bool has_names(Node& directory);
  NodeRef find_link(const LinkKey& key);
  /// The node of that name, made from `seed` unless it (or, by its link keys, the inode) is known.
  NodeRef attach(Node& parent, std::string_view name, NodeSeed&& seed);
  /// A node without a name (O_TMPFILE), held by `orphan`.
  NodeRef attach_orphan(NodeSeed&& seed, Orphan orphan);
  /// A further name of a known node.
  void add_name(Node& node, Node& parent, std::string_view name, layer::LayerIndex layer);
  /// Removes a name. When it was the last, `orphan` becomes the way to the object.
  void remove_name(Node& parent, std::string_view name, Orphan orphan);
  void move_name(Node& from_parent, std::string_view from, Node& to_parent, std::string_view to);
  void swap_names(Node& a_parent, std::string_view a, Node& b_parent, std::string_view b);
  /// All names of the node are now in the upper layer (hard links of one upper inode, or the one).
  void set_names_upper(Node& node);
  void set_name_upper(Node& parent, std::string_view name);
  /// n lookups fewer.
  void forget(Node& node, std::uint64_t count);

  /// Who asks may change it: a listing will tell its attributes again.
  [[nodiscard]] NodeNames names_of(Node& node);
  /// For messages: from the root ("/" for it), at one moment, without any other lock.
  struct Path {
    std::string text;
    bool whole = true;  ///< false: it has no name, or a directory above has none
  };
  [[nodiscard]] Path path_of(Node& node);
  [[nodiscard]] std::size_t name_count(Node& node);
  struct NameFacts {
    layer::LayerIndex layer = 0;  ///< where it was found; kUpper once copied up
    bool only = false;            ///< its node has no other known name
  };
  /// nullopt when nobody knows that name.
  [[nodiscard]] std::optional<NameFacts> facts_of(Node& parent, std::string_view name);
  [[nodiscard]] static bool has_extra(const Node& node) { return node.has_extra_.load(); }
  /// A copy of the extra state; default when there is none.
  [[nodiscard]] FileExtra extra_of(Node& node);
  /// Changes the extra state (made when missing) under the lock; registers changed link keys.
  void update_extra(Node& node, const std::function<void(FileExtra&)>& change);
  [[nodiscard]] std::size_t size();

 private:
  struct KeyHash {
    std::size_t operator()(const LinkKey& key) const;
  };
  static Dentry* find_locked(Node& parent, std::string_view name, std::uint32_t hash);
  Dentry* insert_locked(Node& node, Node& parent, std::string_view name, std::uint32_t hash,
                        layer::LayerIndex layer) REQUIRES(mu_);
  static FileExtra& extra_locked(Node& node);
  static void unlink_from_node(Dentry& dentry);
  static bool is_only_name(const Dentry& dentry);
  void drop_dentry_locked(Dentry* dentry, Node*& dead) REQUIRES(mu_);
  void drop_reference_locked(Node& node, std::uint64_t count, Node*& dead) REQUIRES(mu_);
  void register_keys_locked(Node& node) REQUIRES(mu_);
  void unregister_keys_locked(Node& node) REQUIRES(mu_);
  Node* make_locked(NodeSeed&& seed) REQUIRES(mu_);
  void destroy(Node* dead);

  const std::function<void(Node&)> release_;
  Node* root_ = nullptr;
  Mutex mu_;
  std::size_t nodes_ GUARDED_BY(mu_) = 0;
  std::size_t freed_since_trim_ GUARDED_BY(mu_) = 0;
  std::unordered_map<LinkKey, Node*, KeyHash> links_ GUARDED_BY(mu_);
  std::unordered_set<Node*> nameless_ GUARDED_BY(mu_);  ///< deleted but open, or never named
};

}  // namespace plyfs::node
