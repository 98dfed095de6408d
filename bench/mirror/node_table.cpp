#include "node_table.h"

#include <unistd.h>

#include <memory>
#include <utility>

#include "base/hash.h"

namespace plyfs::mirror {
namespace {

void destroy(Node* node) {
  for (std::atomic<int>& file : node->files) {
    if (file >= 0) {
      (void)::close(file);
    }
  }
  delete node;
}

}  // namespace

NodeTable::NodeTable() : root_(new Node) {
  root_->mode = S_IFDIR;
  root_->lookups = 1;  // never forgotten
  put(*root_, nullptr, "", 0);
}

NodeTable::~NodeTable() {
  nodes_.take_all([](Node& node) { destroy(&node); });
}

std::uint64_t NodeTable::hash_of(const Node& parent, std::string_view name) {
  return hash_bytes(name) ^ (reinterpret_cast<std::uintptr_t>(&parent) * 0x9E3779B97F4A7C15ULL);
}

Node* NodeTable::find_locked(const Node& parent, std::string_view name, std::uint64_t hash) {
  return nodes_.find(hash, [&](const Node& node) {
    return node.hash == hash && node.parent == &parent && node.name == name;
  });
}

void NodeTable::put(Node& node, Node* parent, std::string_view name, std::uint64_t hash) {
  node.name = name;
  node.parent = parent;
  node.hash = hash;
  if (parent != nullptr) {
    ++parent->children;
  }
  nodes_.make_room();
  nodes_.insert(node);
}

void NodeTable::take_out(Node& node) {
  nodes_.erase(node);
  if (node.parent != nullptr) {
    --node.parent->children;
  }
}

Node& NodeTable::enter(Node& parent, std::string_view name, struct stat& attributes) {
  const std::uint64_t hash = hash_of(parent, name);
  const std::lock_guard lock{mu_};
  if (Node* const known = find_locked(parent, name, hash)) {
    ++known->lookups;
    if (known->mtime_moved) {
      attributes.st_mtim = known->mtime;
    }
    return *known;
  }
  auto made = std::make_unique<Node>();
  made->lookups = 1;
  made->mode = attributes.st_mode;
  made->mtime = attributes.st_mtim;
  made->has_links = attributes.st_nlink > 1;
  put(*made, &parent, name, hash);
  return *made.release();
}

Node& NodeTable::enter_unnamed(const struct stat& attributes) {
  auto made = std::make_unique<Node>();
  made->lookups = 1;
  made->mode = attributes.st_mode;
  made->mtime = attributes.st_mtim;
  const std::lock_guard lock{mu_};
  put(*made, nullptr, "", hash_of(*made, ""));
  return *made.release();
}

Node* NodeTable::find(const Node& parent, std::string_view name) {
  const std::lock_guard lock{mu_};
  return find_locked(parent, name, hash_of(parent, name));
}

void NodeTable::count_lookup(Node& node) {
  const std::lock_guard lock{mu_};
  ++node.lookups;
}

bool NodeTable::forget(Node& node, std::uint64_t lookups, const std::function<void(Node&)>& last) {
  Node* unused = nullptr;
  {
    std::unique_lock lock{mu_};
    if (node.lookups == lookups && node.mtime_moved) {
      lock.unlock();
      last(node);  // nobody else frees it: its last lookups are these
      lock.lock();
    }
    node.lookups -= lookups;
    // With its last child, or its last lookup, a parent may go as well.
    for (Node* each = &node; each != nullptr && each->lookups == 0 && each->children == 0;) {
      Node* const parent = each->parent;
      take_out(*each);
      each->next_in_bucket = std::exchange(unused, each);
      each = parent;
    }
  }
  const bool gone = unused != nullptr;
  while (unused != nullptr) {
    destroy(std::exchange(unused, unused->next_in_bucket));
  }
  return gone;
}

void NodeTable::lose_name(Node& node) {
  const std::lock_guard lock{mu_};
  take_out(node);
  put(node, nullptr, "", hash_of(node, ""));
}

void NodeTable::move(Node& node, Node& parent, std::string_view name) {
  const std::lock_guard lock{mu_};
  take_out(node);
  put(node, &parent, name, hash_of(parent, name));
}

void NodeTable::note_mtime(Node& node, const timespec& mtime) {
  const std::lock_guard lock{mu_};
  node.mtime = mtime;
  node.mtime_moved = false;
}

void NodeTable::note_write(Node& node) {
  const std::lock_guard lock{mu_};
  node.mtime_moved = keeps_mtime_;
}

std::optional<timespec> NodeTable::take_mtime(Node& node) {
  const std::lock_guard lock{mu_};
  return std::exchange(node.mtime_moved, false) ? std::optional{node.mtime} : std::nullopt;
}

void NodeTable::for_each(const std::function<void(Node&)>& body) { nodes_.for_each(body); }

}  // namespace plyfs::mirror
