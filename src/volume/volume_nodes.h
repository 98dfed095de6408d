// Identity inside volumes: which object on the host the kernel's inodes stand for.
//
// A volume is changed by others, so a name proves nothing: a node is an inode (device, number, and
// a stamp against numbers that are used again), and where it was last seen is only a hint.
//
// Owners: VolumeNodes owns every node. One lives while the kernel counts lookups on it, a reference
// is held, or another node names it as its parent. Only VolumeNodes frees.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/chain_table.h"
#include "base/file_stat.h"
#include "base/generation.h"
#include "base/mutex.h"
#include "plyfs/result.h"
#include "sys/fd_cache.h"

namespace plyfs::volume {

/// Index into the volumes of the mount.
using VolumeIndex = std::uint32_t;

/// The same inode in two volumes is two nodes: one of them may be read-only, and the kernel allows
/// a directory inode one place only.
struct ObjectKey {
  VolumeIndex volume = 0;
  dev_t dev = 0;
  ino_t ino = 0;
  friend bool operator==(const ObjectKey&, const ObjectKey&) = default;
};

class VolumeNode {
 public:
  [[nodiscard]] const ObjectKey& key() const { return key_; }
  [[nodiscard]] VolumeIndex volume() const { return key_.volume; }
  [[nodiscard]] std::uint64_t stamp() const { return stamp_; }
  [[nodiscard]] std::uint8_t entry_type() const { return entry_type_; }
  [[nodiscard]] std::uint32_t generation() const { return generation_; }
  [[nodiscard]] bool is_directory() const { return entry_type_ == entry_type_of(kTypeDirectory); }
  [[nodiscard]] bool is_regular() const { return entry_type_ == entry_type_of(kTypeRegular); }
  /// Not null: the node is no object on the host, but a place that we made up (see VolumeTree).
  [[nodiscard]] const FileStat* made_up() const { return made_up_.get(); }
  /// True at the first call: the kernel was not told yet that the object has no name any more.
  bool find_gone() { return !gone_.exchange(true); }

 private:
  friend class VolumeNodes;
  VolumeNode(const ObjectKey& key, std::uint64_t stamp, std::uint8_t entry_type)
      : key_(key), stamp_(stamp), entry_type_(entry_type) {}

  const ObjectKey key_;
  const std::uint64_t stamp_;
  const std::uint8_t entry_type_;
  const std::uint32_t generation_ = next_generation();
  std::unique_ptr<const FileStat> made_up_;
  std::atomic<bool> gone_{false};
  // Guarded by VolumeNodes::mu_.
  VolumeNode* next_ = nullptr;  ///< in the list of all
  VolumeNode* previous_ = nullptr;
  VolumeNode* next_keyed_ = nullptr;  ///< of the same bucket
  bool keyed_ = false;                ///< its key leads to it
  std::uint64_t references_ = 0;
  VolumeNode* parent_ = nullptr;
  std::string name_;
  sys::FdPin anchor_;  ///< keeps an object that may have no name any more
};

class VolumeNodes;

/// Keeps a node alive. Move-only.
class VolumeNodeRef {
 public:
  VolumeNodeRef() = default;
  VolumeNodeRef(VolumeNodes& nodes, VolumeNode* node) : nodes_(&nodes), node_(node) {}
  VolumeNodeRef(VolumeNodeRef&& other) noexcept
      : nodes_(other.nodes_), node_(std::exchange(other.node_, nullptr)) {}
  VolumeNodeRef& operator=(VolumeNodeRef&& other) noexcept;
  VolumeNodeRef(const VolumeNodeRef&) = delete;
  VolumeNodeRef& operator=(const VolumeNodeRef&) = delete;
  ~VolumeNodeRef() { reset(); }
  void reset();
  /// The reference becomes one of the kernel's lookups.
  VolumeNode* give_to_kernel() { return std::exchange(node_, nullptr); }
  explicit operator bool() const { return node_ != nullptr; }
  VolumeNode& operator*() const { return *node_; }
  VolumeNode* operator->() const { return node_; }
  [[nodiscard]] VolumeNode* get() const { return node_; }

 private:
  VolumeNodes* nodes_ = nullptr;
  VolumeNode* node_ = nullptr;
};

/// Where a node was last seen.
struct Whereabouts {
  VolumeNodeRef parent;  ///< null: a root, or never named
  std::string name;
  sys::FdPin anchor;
};

/// Thread-safe. One short mutex, never held across a system call.
class VolumeNodes {
 public:
  /// `release` is called, without the lock, for every node about to be freed (its descriptors).
  explicit VolumeNodes(std::function<void(VolumeNode&)> release) : release_(std::move(release)) {}
  ~VolumeNodes() { clear(); }
  VolumeNodes(const VolumeNodes&) = delete;
  VolumeNodes& operator=(const VolumeNodes&) = delete;

  /// Frees everything, whatever the kernel counts: after the unmount. No call may follow.
  void clear();

  /// The node of that object; `parent` and `name` become its whereabouts. A known node of the same
  /// key but another stamp or type was another object: it loses the key.
  VolumeNodeRef attach(VolumeNode* parent, std::string_view name, const ObjectKey& key,
                       std::uint64_t stamp, std::uint8_t entry_type);
  /// A node that stands for no object on the host.
  VolumeNodeRef attach_made_up(VolumeNode* parent, std::string_view name, VolumeIndex volume,
                               const FileStat& stat);
  /// Null when the object is not known.
  VolumeNodeRef find(const ObjectKey& key);
  VolumeNodeRef ref(VolumeNode& node);
  /// Null when it is about to be freed.
  VolumeNodeRef ref_if_alive(VolumeNode& node);
  void forget(VolumeNode& node, std::uint64_t count);

  [[nodiscard]] Whereabouts whereabouts(VolumeNode& node);
  void set_place(VolumeNode& node, VolumeNode& parent, std::string_view name);
  void set_anchor(VolumeNode& node, sys::FdPin anchor);
  [[nodiscard]] std::size_t size();

 private:
  struct ByKey {
    static VolumeNode*& next(VolumeNode& node);
    static std::uint64_t hash(const VolumeNode& node);
  };
  static std::uint64_t hash_of(const ObjectKey& key);
  VolumeNode* find_locked(const ObjectKey& key) REQUIRES(mu_);
  void take_key_locked(VolumeNode& node) REQUIRES(mu_);
  VolumeNode* insert_locked(std::unique_ptr<VolumeNode> node) REQUIRES(mu_);
  void remove_locked(VolumeNode& node) REQUIRES(mu_);
  void place_locked(VolumeNode& node, VolumeNode* parent, std::string_view name,
                    std::vector<std::unique_ptr<VolumeNode>>& dead) REQUIRES(mu_);
  void drop_locked(VolumeNode& node, std::uint64_t count,
                   std::vector<std::unique_ptr<VolumeNode>>& dead) REQUIRES(mu_);
  void release_all(const std::vector<std::unique_ptr<VolumeNode>>& dead);

  const std::function<void(VolumeNode&)> release_;
  Mutex mu_;
  ChainTable<VolumeNode, ByKey> by_key_ GUARDED_BY(mu_);
  VolumeNode* all_ GUARDED_BY(mu_) = nullptr;
  std::size_t count_ GUARDED_BY(mu_) = 0;
  ino_t made_up_ GUARDED_BY(mu_) = 0;
};

}  // namespace plyfs::volume
