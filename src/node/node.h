// Identity: what the kernel knows as an inode (Node), and the names it has (Dentry).
//
// Owners: the NodeTable owns every Node and Dentry. A Node lives while the kernel counts lookups on
// it, an operation holds a NodeRef, or a Dentry names it as parent. Only the table frees.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/file_stat.h"
#include "base/generation.h"
#include "merge/directory_stack.h"
#include "merge/listing.h"
#include "merge/lookup.h"
#include "merge/lower_names.h"
#include "node/child_names.h"

namespace plyfs::node {

/// Identity of an inode on disk, for hard links.
struct LinkKey {
  dev_t dev = 0;
  ino_t ino = 0;
  friend bool operator==(const LinkKey&, const LinkKey&) = default;
};

/// A way to an object that needs no lock; the only one once it has no name any more. A descriptor
/// of it or, in a layer that never changes, its directory there and its name.
struct Orphan {
  sys::FdPin fd;
  std::string name;  ///< empty: `fd` is the object itself
  explicit operator bool() const { return fd != nullptr; }
  /// Valid as long as this.
  [[nodiscard]] sys::ObjectRef object() const { return {fd->borrow(), name.c_str()}; }
};

/// What only few files have. Fields are guarded by NodeTable::mu unless said otherwise.
struct FileExtra {
  std::optional<LinkKey> lower_key;  ///< registered in the link table
  std::optional<LinkKey> upper_key;
  std::string index_name;        ///< not empty: the upper inode is WORK/index/<name>
  std::int64_t union_nlink = 0;  ///< indexed files: the count that users see
  /// Metadata-only copy: where the data lies. Changed under the node's copy-up lock and mu.
  std::optional<merge::DataLocation> data;
  Orphan orphan;  ///< no name left
};

/// Where a DirectoryCache keeps what it knows of a directory. Guarded by that cache's mutex.
template <typename T>
struct CacheSlot {
  std::shared_ptr<const T> value;
  std::list<Node*>::iterator position;
};

/// What directories have.
struct DirectoryData {
  /// Guarded by the directory's DirLock: shared to read, exclusive to change.
  merge::DirectoryParts parts;
  /// Where the directory is in the merged tree of the lower layers, when that is not under the same
  /// name in its parent's place: the upper's redirect. Changed under the tree lock (exclusive).
  std::unique_ptr<const std::string> lower_path;
  /// As shown, of a directory that was found in lower layers only: true while it is there only.
  std::optional<FileStat> lower_stat;
  /// Counts changes of the names; a listing of another version is stale.
  std::atomic<std::uint32_t> version{0};
  /// What the kernel keeps of listings is of this version at the oldest, plus 1. 0: it keeps none.
  std::atomic<std::uint64_t> kept_since{0};
  /// Since its names last changed a reader under way was told some of an older version.
  std::atomic<bool> told_old{false};
  Orphan orphan;  ///< removed, but still open somewhere; guarded by NodeTable::mu
  std::atomic<bool> removed{false};
  /// Its mode keeps its owner from searching it: a daemon without privileges may be shut out, while
  /// files in it are still open.
  std::atomic<bool> closed{false};
  ChildNames names;  ///< that are known; guarded by NodeTable::mu
  CacheSlot<merge::Listing> listing;
  CacheSlot<merge::LowerNames> lower_names;
  /// Questions to lower layers that lacked the name; how many make an index worth its cost.
  std::atomic<std::uint32_t> wasted_probes{0};
  std::atomic<std::uint32_t> index_after{0};
};

class Node {
 public:
  Node(std::uint8_t entry_type, layer::LayerIndex layer, std::uint64_t ino)
      : ino_(ino), layer_(layer), entry_type_(entry_type) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  [[nodiscard]] bool is_directory() const { return entry_type_ == entry_type_of(kTypeDirectory); }
  [[nodiscard]] bool is_regular() const { return entry_type_ == entry_type_of(kTypeRegular); }
  [[nodiscard]] bool is_symlink() const { return entry_type_ == entry_type_of(kTypeSymlink); }
  [[nodiscard]] std::uint8_t entry_type() const { return entry_type_; }
  /// st_ino as shown; constant for the life of the object.
  [[nodiscard]] std::uint64_t ino() const { return ino_; }
  [[nodiscard]] std::uint32_t generation() const { return generation_; }
  /// The topmost layer that holds the object: only ever changes to kUpper.
  [[nodiscard]] layer::LayerIndex layer() const { return layer_.load(std::memory_order_acquire); }
  [[nodiscard]] bool in_upper() const { return layer() == layer::kUpper; }
  void set_in_upper() { layer_.store(layer::kUpper, std::memory_order_release); }
  [[nodiscard]] DirectoryData& directory() { return *directory_; }
  /// Whether the I/O cache may hold a descriptor of this node.
  std::atomic<bool> has_io{false};
  /// Regular upper file whose data is below: set by lookup and copy-up, cleared by completion.
  std::atomic<bool> metacopy{false};
  /// File that was made in this mount and has got no xattr since, so no security.capability either.
  std::atomic<bool> lacks_capability{false};

 private:
  friend class NodeTable;

  std::atomic<std::uint64_t> references_{0};  ///< kernel lookups, NodeRefs and child dentries
  union {
    Dentry* names_ = nullptr;
    Node* next_dead_;  ///< once nothing refers to it: forgetting allocates no memory
  };
  const std::uint64_t ino_;
  std::unique_ptr<DirectoryData> directory_;
  std::unique_ptr<FileExtra> extra_;
  std::atomic<bool> has_extra_{false};  ///< to be asked without the lock; never false again
  std::atomic<layer::LayerIndex> layer_;
  const std::uint8_t entry_type_;
  /// A listing told its attributes, and nobody has asked for its name or changed it since: the
  /// kernel knows them, unless it has lost them. A hint: who is not told again can ask. Guarded by
  /// NodeTable::mu.
  bool told_ = false;
  const std::uint32_t generation_ = next_generation();
};

}  // namespace plyfs::node
