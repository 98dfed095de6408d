#include "node/node_table.h"

#include <malloc.h>

#include <cstddef>
#include <cstring>
#include <new>
#include <utility>

#include "base/hash.h"

namespace plyfs::node {
namespace {

constexpr std::size_t kTrimAfter = 4096;  // freed nodes before memory is given back to the system

std::uint32_t hash_of_name(std::string_view name) {
  return static_cast<std::uint32_t>(hash_bytes(name));
}

Dentry* make_dentry(Node& node, Node& parent, std::string_view name, layer::LayerIndex layer,
                    std::uint32_t hash) {
  void* memory = ::operator new(offsetof(Dentry, name) + name.size() + 1);
  auto* dentry = new (memory) Dentry{
      &parent, &node, nullptr, nullptr, hash, layer, static_cast<std::uint8_t>(name.size()), {}};
  char* bytes = static_cast<char*>(memory) + offsetof(Dentry, name);
  std::memcpy(bytes, name.data(), name.size());
  bytes[name.size()] = '\0';
  return dentry;
}

}  // namespace

NodeRef& NodeRef::operator=(NodeRef&& other) noexcept {
  if (this != &other) {
    reset();
    table_ = other.table_;
    node_ = std::exchange(other.node_, nullptr);
  }
  return *this;
}

void NodeRef::reset() {
  if (node_ != nullptr) {
    table_->forget(*std::exchange(node_, nullptr), 1);
  }
}

std::size_t NodeTable::KeyHash::operator()(const LinkKey& key) const {
  return hash_pair(key.dev, key.ino);
}

NodeTable::NodeTable(std::function<void(Node&)> release) : release_(std::move(release)) {}

void NodeTable::clear() NO_THREAD_SAFETY_ANALYSIS {
  // What is in here has no name any more.
  std::vector<Node*> left{nameless_.begin(), nameless_.end()};
  nameless_.clear();
  if (root_ != nullptr) {
    left.push_back(std::exchange(root_, nullptr));
  }
  while (!left.empty()) {
    Node* const node = left.back();
    left.pop_back();
    if (node->is_directory()) {
      node->directory_->names.take_all([&](Dentry& dentry) {
        unlink_from_node(dentry);
        if (dentry.node->names_ == nullptr) {
          left.push_back(dentry.node);
        }
        ::operator delete(&dentry);
      });
    }
    release_(*node);
    delete node;
  }
}

/// One name fewer of its node.
void NodeTable::unlink_from_node(Dentry& dentry) {
  Dentry** link = &dentry.node->names_;
  while (*link != &dentry) {
    link = &(*link)->next_name;
  }
  *link = dentry.next_name;
}

void NodeTable::make_root(NodeSeed seed) {
  MutexLock lock{mu_};
  root_ = make_locked(std::move(seed));
  root_->references_ = 1;
}

NodeRef NodeTable::ref(Node& node) {
  node.references_.fetch_add(1, std::memory_order_relaxed);
  return {*this, &node};
}

NodeRef NodeTable::find(Node& parent, std::string_view name) {
  return find_listed(parent, name).node;
}

NodeTable::Listed NodeTable::find_listed(Node& parent, std::string_view name) {
  const std::uint32_t hash = hash_of_name(name);
  MutexLock lock{mu_};
  Dentry* const dentry = find_locked(parent, name, hash);
  if (dentry == nullptr) {
    return {};
  }
  return {ref(*dentry->node), dentry->node->told_};
}

void NodeTable::set_told(Node& node) {
  MutexLock lock{mu_};
  node.told_ = true;
}

bool NodeTable::has_names(Node& directory) {
  MutexLock lock{mu_};
  return !directory.directory().names.empty();
}

NodeRef NodeTable::find_link(const LinkKey& key) {
  MutexLock lock{mu_};
  const auto found = links_.find(key);
  return found == links_.end() ? NodeRef{} : ref(*found->second);
}

NodeRef NodeTable::attach(Node& parent, std::string_view name, NodeSeed&& seed) {
  const std::uint32_t hash = hash_of_name(name);
  MutexLock lock{mu_};
  if (Dentry* known = find_locked(parent, name, hash)) {
    return ref(*known->node);
  }
  const layer::LayerIndex layer = seed.layer;
  for (const auto& key : {seed.upper_key, seed.lower_key}) {
    const auto found = key ? links_.find(*key) : links_.end();
    if (found != links_.end()) {
      insert_locked(*found->second, parent, name, hash, layer);
      nameless_.erase(found->second);
      return ref(*found->second);
    }
  }
  Node* made = make_locked(std::move(seed));
  insert_locked(*made, parent, name, hash, layer);
  return ref(*made);
}

NodeRef NodeTable::attach_orphan(NodeSeed&& seed, Orphan orphan) {
  MutexLock lock{mu_};
  Node* made = make_locked(std::move(seed));
  extra_locked(*made).orphan = std::move(orphan);
  nameless_.insert(made);
  return ref(*made);
}

void NodeTable::add_name(Node& node, Node& parent, std::string_view name, layer::LayerIndex layer) {
  const std::uint32_t hash = hash_of_name(name);
  MutexLock lock{mu_};
  if (find_locked(parent, name, hash) == nullptr) {
    insert_locked(node, parent, name, hash, layer);
  }
  node.told_ = false;  // its times
  if (node.extra_) {
    node.extra_->orphan = {};  // O_TMPFILE that was given a name
  }
  nameless_.erase(&node);
}

void NodeTable::remove_name(Node& parent, std::string_view name, Orphan orphan) {
  Node* dead = nullptr;
  Orphan unused;  // closed without the lock
  {
    MutexLock lock{mu_};
    Dentry* dentry = find_locked(parent, name, hash_of_name(name));
    if (dentry == nullptr) {
      return;
    }
    Node& node = *dentry->node;
    node.told_ = false;
    if (is_only_name(*dentry)) {
      nameless_.insert(&node);
      if (node.is_directory()) {
        node.directory_->orphan = std::move(orphan);
        node.directory_->removed = true;
      } else {
        extra_locked(node).orphan = std::move(orphan);
      }
    } else {
      unused = std::move(orphan);
    }
    drop_dentry_locked(dentry, dead);
  }
  destroy(dead);
}

void NodeTable::move_name(Node& from_parent, std::string_view from, Node& to_parent,
                          std::string_view to) {
  Node* dead = nullptr;
  {
    MutexLock lock{mu_};
    Dentry* old = find_locked(from_parent, from, hash_of_name(from));
    if (old == nullptr) {
      return;
    }
    Node& node = *old->node;
    node.told_ = false;
    // Insert first: the node must not lose its last name in between.
    insert_locked(node, to_parent, to, hash_of_name(to), old->layer);
    drop_dentry_locked(old, dead);
  }
  destroy(dead);
}

void NodeTable::swap_names(Node& a_parent, std::string_view a, Node& b_parent, std::string_view b) {
  MutexLock lock{mu_};
  Dentry* first = find_locked(a_parent, a, hash_of_name(a));
  Dentry* second = find_locked(b_parent, b, hash_of_name(b));
  if (first == nullptr || second == nullptr || first->node == second->node) {
    return;
  }
  // Only the nodes change places; each list of names gets the other dentry.
  const auto replace = [](Node& node, Dentry* from, Dentry* to) {
    Dentry** link = &node.names_;
    while (*link != from) {
      link = &(*link)->next_name;
    }
    *link = to;
  };
  Node* first_node = first->node;
  Node* second_node = second->node;
  Dentry* first_next = first->next_name;
  Dentry* second_next = second->next_name;
  replace(*first_node, first, second);
  replace(*second_node, second, first);
  second->next_name = first_next;
  first->next_name = second_next;
  std::swap(first->node, second->node);
  std::swap(first->layer, second->layer);
}

void NodeTable::set_names_upper(Node& node) {
  MutexLock lock{mu_};
  for (Dentry* dentry = node.names_; dentry != nullptr; dentry = dentry->next_name) {
    dentry->layer = layer::kUpper;
  }
}

void NodeTable::set_name_upper(Node& parent, std::string_view name) {
  MutexLock lock{mu_};
  if (Dentry* dentry = find_locked(parent, name, hash_of_name(name))) {
    dentry->layer = layer::kUpper;
  }
}

void NodeTable::forget(Node& node, std::uint64_t count) {
  Node* dead = nullptr;
  bool trim = false;
  {
    MutexLock lock{mu_};
    drop_reference_locked(node, count, dead);
    if (freed_since_trim_ >= kTrimAfter && freed_since_trim_ > nodes_) {
      freed_since_trim_ = 0;
      trim = true;
    }
  }
  destroy(dead);
  if (trim) {
    (void)::malloc_trim(0);
  }
}

NodeNames NodeTable::names_of(Node& node) {
  NodeNames names;
  MutexLock lock{mu_};
  node.told_ = false;
  if (node.extra_) {
    names.index_name = node.extra_->index_name;
    names.orphan = node.extra_->orphan;
  }
  if (node.directory_) {
    names.orphan = node.directory_->orphan;
  }
  if (node.names_ != nullptr) {
    names.dentry = node.names_;
    names.parent = node.names_->parent;
  }
  return names;
}

NodeTable::Path NodeTable::path_of(Node& node) {
  Path path;
  const MutexLock lock{mu_};
  for (const Node* at = &node; at != root_; at = at->names_->parent) {
    if (at->names_ == nullptr) {
      path.whole = false;
      return path;
    }
    path.text.insert(0, at->names_->view()).insert(0, 1, '/');
  }
  if (path.text.empty()) {
    path.text = "/";
  }
  return path;
}

std::size_t NodeTable::name_count(Node& node) {
  MutexLock lock{mu_};
  std::size_t count = 0;
  for (const Dentry* dentry = node.names_; dentry != nullptr; dentry = dentry->next_name) {
    ++count;
  }
  return count;
}

std::optional<NodeTable::NameFacts> NodeTable::facts_of(Node& parent, std::string_view name) {
  const std::uint32_t hash = hash_of_name(name);
  MutexLock lock{mu_};
  const Dentry* const dentry = find_locked(parent, name, hash);
  if (dentry == nullptr) {
    return std::nullopt;
  }
  return NameFacts{dentry->layer, is_only_name(*dentry)};
}

bool NodeTable::is_only_name(const Dentry& dentry) {
  return dentry.node->names_ == &dentry && dentry.next_name == nullptr;
}

FileExtra NodeTable::extra_of(Node& node) {
  if (!has_extra(node)) {
    return {};
  }
  MutexLock lock{mu_};
  return *node.extra_;
}

void NodeTable::update_extra(Node& node, const std::function<void(FileExtra&)>& change) {
  MutexLock lock{mu_};
  unregister_keys_locked(node);
  change(extra_locked(node));
  register_keys_locked(node);
}

FileExtra& NodeTable::extra_locked(Node& node) {
  if (!node.extra_) {
    node.extra_ = std::make_unique<FileExtra>();
    node.has_extra_ = true;
  }
  return *node.extra_;
}

std::size_t NodeTable::size() {
  MutexLock lock{mu_};
  return nodes_;
}

Dentry* NodeTable::find_locked(Node& parent, std::string_view name, std::uint32_t hash) {
  return parent.directory_->names.find(
      hash, [&](const Dentry& at) { return at.hash == hash && at.view() == name; });
}

Dentry* NodeTable::insert_locked(Node& node, Node& parent, std::string_view name,
                                 std::uint32_t hash, layer::LayerIndex layer) {
  ChildNames& names = parent.directory_->names;
  names.make_room();
  Dentry* dentry = make_dentry(node, parent, name, layer, hash);
  names.insert(*dentry);
  dentry->next_name = node.names_;
  node.names_ = dentry;
  parent.references_.fetch_add(1, std::memory_order_relaxed);
  return dentry;
}

void NodeTable::drop_dentry_locked(Dentry* dentry, Node*& dead) {
  Node& parent = *dentry->parent;
  parent.directory_->names.erase(*dentry);
  unlink_from_node(*dentry);
  ::operator delete(dentry);
  drop_reference_locked(parent, 1, dead);
}

void NodeTable::drop_reference_locked(Node& node, std::uint64_t count, Node*& dead) {
  if (node.references_.fetch_sub(count, std::memory_order_acq_rel) != count) {
    return;
  }
  unregister_keys_locked(node);
  nameless_.erase(&node);
  --nodes_;
  ++freed_since_trim_;
  while (node.names_ != nullptr) {
    drop_dentry_locked(node.names_, dead);  // may free the parent in turn
  }
  node.next_dead_ = dead;
  dead = &node;
}

void NodeTable::register_keys_locked(Node& node) {
  for (const auto& key : {node.extra_->lower_key, node.extra_->upper_key}) {
    if (key) {
      links_.emplace(*key, &node);
    }
  }
}

void NodeTable::unregister_keys_locked(Node& node) {
  if (!node.extra_) {
    return;
  }
  for (const auto& key : {node.extra_->lower_key, node.extra_->upper_key}) {
    const auto found = key ? links_.find(*key) : links_.end();
    if (found != links_.end() && found->second == &node) {
      links_.erase(found);
    }
  }
}

Node* NodeTable::make_locked(NodeSeed&& seed) {
  auto* node = new Node{seed.entry_type, seed.layer, seed.ino};
  node->told_ = seed.told;
  ++nodes_;
  if (node->is_directory()) {
    node->directory_ = std::make_unique<DirectoryData>();
    node->directory_->parts = std::move(seed.parts);
    node->directory_->lower_path = std::move(seed.lower_path);
    node->directory_->lower_stat = seed.lower_stat;
    return node;
  }
  if (seed.lower_key || seed.upper_key || !seed.index_name.empty() || seed.data) {
    FileExtra& extra = extra_locked(*node);
    extra.lower_key = seed.lower_key;
    extra.upper_key = seed.upper_key;
    extra.index_name = std::move(seed.index_name);
    extra.union_nlink = seed.union_nlink;
    node->metacopy = seed.data.has_value();
    extra.data = std::move(seed.data);
    register_keys_locked(*node);
  }
  return node;
}

void NodeTable::destroy(Node* dead) {
  while (dead != nullptr) {
    Node* const node = std::exchange(dead, dead->next_dead_);
    node->names_ = nullptr;
    release_(*node);
    delete node;
  }
}

}  // namespace plyfs::node
