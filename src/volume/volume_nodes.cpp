#include "volume/volume_nodes.h"

#include <algorithm>

#include "base/hash.h"

namespace plyfs::volume {

using DeadNodes = std::vector<std::unique_ptr<VolumeNode>>;

VolumeNodeRef& VolumeNodeRef::operator=(VolumeNodeRef&& other) noexcept {
  if (this != &other) {
    reset();
    nodes_ = other.nodes_;
    node_ = std::exchange(other.node_, nullptr);
  }
  return *this;
}

void VolumeNodeRef::reset() {
  if (VolumeNode* const node = std::exchange(node_, nullptr)) {
    nodes_->forget(*node, 1);
  }
}

void VolumeNodes::clear() {
  DeadNodes dead;
  {
    const MutexLock lock{mu_};
    for (VolumeNode* node = all_; node != nullptr; node = node->next_) {
      dead.emplace_back(node);
    }
    all_ = nullptr;
    count_ = 0;
    by_key_.take_all([](VolumeNode&) {});
  }
  release_all(dead);
}

VolumeNode*& VolumeNodes::ByKey::next(VolumeNode& node) { return node.next_keyed_; }

std::uint64_t VolumeNodes::ByKey::hash(const VolumeNode& node) { return hash_of(node.key_); }

std::uint64_t VolumeNodes::hash_of(const ObjectKey& key) {
  return hash_pair(hash_pair(key.volume, key.dev), key.ino);
}

VolumeNode* VolumeNodes::find_locked(const ObjectKey& key) {
  return by_key_.find(hash_of(key), [&](const VolumeNode& node) { return node.key_ == key; });
}

void VolumeNodes::take_key_locked(VolumeNode& node) {
  if (std::exchange(node.keyed_, false)) {
    by_key_.erase(node);
  }
}

VolumeNode* VolumeNodes::insert_locked(std::unique_ptr<VolumeNode> node) {
  VolumeNode* const made = node.release();
  made->next_ = all_;
  if (all_ != nullptr) {
    all_->previous_ = made;
  }
  all_ = made;
  ++count_;
  return made;
}

void VolumeNodes::remove_locked(VolumeNode& node) {
  take_key_locked(node);
  (node.previous_ != nullptr ? node.previous_->next_ : all_) = node.next_;
  if (node.next_ != nullptr) {
    node.next_->previous_ = node.previous_;
  }
  --count_;
}

/// The new parent is referenced before the old one is let go.
void VolumeNodes::place_locked(VolumeNode& node, VolumeNode* parent, std::string_view name,
                               DeadNodes& dead) {
  if (node.parent_ != parent) {
    // Directories moved on the host may be seen in an order that would make a circle.
    for (const VolumeNode* at = parent; at != nullptr; at = at->parent_) {
      if (at == &node) {
        return;
      }
    }
    if (parent != nullptr) {
      ++parent->references_;
    }
    VolumeNode* const before = std::exchange(node.parent_, parent);
    if (before != nullptr) {
      drop_locked(*before, 1, dead);
    }
  }
  if (node.name_ != name) {
    node.name_ = name;
  }
}

void VolumeNodes::drop_locked(VolumeNode& node, std::uint64_t count, DeadNodes& dead) {
  VolumeNode* at = &node;
  while (at != nullptr) {
    at->references_ -= std::min(count, at->references_);
    if (at->references_ != 0) {
      return;
    }
    remove_locked(*at);
    dead.emplace_back(at);
    at = std::exchange(at->parent_, nullptr);
    count = 1;
  }
}

void VolumeNodes::release_all(const DeadNodes& dead) {
  for (const auto& node : dead) {
    release_(*node);
  }
}

VolumeNodeRef VolumeNodes::attach(VolumeNode* parent, std::string_view name, const ObjectKey& key,
                                  std::uint64_t stamp, std::uint8_t entry_type) {
  DeadNodes dead;
  VolumeNode* node = nullptr;
  {
    const MutexLock lock{mu_};
    node = find_locked(key);
    if (node == nullptr || node->stamp_ != stamp || node->entry_type_ != entry_type) {
      std::unique_ptr<VolumeNode> made{new VolumeNode{key, stamp, entry_type}};
      if (node != nullptr) {
        take_key_locked(*node);
      }
      by_key_.make_room();
      node = insert_locked(std::move(made));
      by_key_.insert(*node);
      node->keyed_ = true;
    }
    ++node->references_;
    // A root stays where the mount has put it.
    if (node->parent_ != nullptr || node->anchor_ == nullptr) {
      place_locked(*node, parent, name, dead);
    }
  }
  release_all(dead);
  return {*this, node};
}

VolumeNodeRef VolumeNodes::attach_made_up(VolumeNode* parent, std::string_view name,
                                          VolumeIndex volume, const FileStat& stat) {
  DeadNodes dead;
  VolumeNode* node = nullptr;
  {
    const MutexLock lock{mu_};
    const ObjectKey key{volume, 0, ++made_up_};
    node = insert_locked(
        std::unique_ptr<VolumeNode>{new VolumeNode{key, 0, entry_type_of(stat.mode)}});
    FileStat fixed = stat;
    fixed.dev = key.dev;
    fixed.ino = key.ino;
    node->made_up_ = std::make_unique<const FileStat>(fixed);
    ++node->references_;
    place_locked(*node, parent, name, dead);
  }
  return {*this, node};
}

VolumeNodeRef VolumeNodes::find(const ObjectKey& key) {
  const MutexLock lock{mu_};
  VolumeNode* const known = find_locked(key);
  if (known == nullptr) {
    return {};
  }
  ++known->references_;
  return {*this, known};
}

VolumeNodeRef VolumeNodes::ref(VolumeNode& node) {
  const MutexLock lock{mu_};
  ++node.references_;
  return {*this, &node};
}

VolumeNodeRef VolumeNodes::ref_if_alive(VolumeNode& node) {
  const MutexLock lock{mu_};
  if (node.references_ == 0) {
    return {};
  }
  ++node.references_;
  return {*this, &node};
}

void VolumeNodes::forget(VolumeNode& node, std::uint64_t count) {
  DeadNodes dead;
  {
    const MutexLock lock{mu_};
    drop_locked(node, count, dead);
  }
  release_all(dead);
}

Whereabouts VolumeNodes::whereabouts(VolumeNode& node) {
  const MutexLock lock{mu_};
  Whereabouts found{{}, node.name_, node.anchor_};
  if (node.parent_ != nullptr) {
    ++node.parent_->references_;
    found.parent = VolumeNodeRef{*this, node.parent_};
  }
  return found;
}

void VolumeNodes::set_place(VolumeNode& node, VolumeNode& parent, std::string_view name) {
  DeadNodes dead;
  {
    const MutexLock lock{mu_};
    place_locked(node, &parent, name, dead);
  }
  release_all(dead);
}

void VolumeNodes::set_anchor(VolumeNode& node, sys::FdPin anchor) {
  sys::FdPin before;  // closed without the lock
  const MutexLock lock{mu_};
  before = std::exchange(node.anchor_, std::move(anchor));
}

std::size_t VolumeNodes::size() {
  const MutexLock lock{mu_};
  return count_;
}

}  // namespace plyfs::volume
