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

std::size_t VolumeNodes::KeyHash::operator()(const ObjectKey& key) const {
  return hash_pair(hash_pair(key.volume, key.dev), key.ino);
}

void VolumeNodes::clear() {
  DeadNodes dead;
  {
    const MutexLock lock{mu_};
    for (VolumeNode* const node : all_) {
      dead.emplace_back(node);
    }
    all_.clear();
    known_.clear();
  }
  release_all(dead);
}

VolumeNode* VolumeNodes::insert_locked(std::unique_ptr<VolumeNode> node) {
  VolumeNode* const made = node.release();
  all_.insert(made);
  return made;
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
    const auto known = known_.find(at->key_);
    if (known != known_.end() && known->second == at) {
      known_.erase(known);
    }
    all_.erase(at);
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
    VolumeNode*& known = known_[key];
    if (known == nullptr || known->stamp_ != stamp || known->entry_type_ != entry_type) {
      known = insert_locked(std::unique_ptr<VolumeNode>{new VolumeNode{key, stamp, entry_type}});
    }
    node = known;
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
  const auto known = known_.find(key);
  if (known == known_.end()) {
    return {};
  }
  ++known->second->references_;
  return {*this, known->second};
}

VolumeNodeRef VolumeNodes::ref(VolumeNode& node) {
  const MutexLock lock{mu_};
  ++node.references_;
  return {*this, &node};
}

VolumeNodeRef VolumeNodes::ref_if_known(const void* node) {
  const MutexLock lock{mu_};
  // Compared as a pointer, not followed.
  const auto known = all_.find(static_cast<VolumeNode*>(const_cast<void*>(node)));
  if (known == all_.end()) {
    return {};
  }
  ++(*known)->references_;
  return {*this, *known};
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
  return all_.size();
}

}  // namespace plyfs::volume
