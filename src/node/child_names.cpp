#include "node/child_names.h"

#include <new>

#include "base/hash.h"

namespace plyfs::node {
namespace {

constexpr std::size_t kLeast = 8;   // one line of the cache
constexpr std::size_t kSparse = 8;  // buckets for each name

}  // namespace

std::uint32_t hash_of_name(std::string_view name) {
  return static_cast<std::uint32_t>(hash_bytes(name));
}

Dentry* ChildNames::find(std::string_view name, std::uint32_t hash) const {
  if (buckets_.empty()) {
    return nullptr;
  }
  for (Dentry* at = buckets_[hash & (buckets_.size() - 1)]; at != nullptr; at = at->hash_next) {
    if (at->hash == hash && at->view() == name) {
      return at;
    }
  }
  return nullptr;
}

void ChildNames::make_room() {
  if (buckets_.empty()) {
    buckets_.resize(kLeast, nullptr);
  } else if (count_ >= buckets_.size()) {
    try {
      resize(2 * buckets_.size());
    } catch (const std::bad_alloc&) {  // longer chains for a while
    }
  }
}

void ChildNames::insert(Dentry& dentry) {
  Dentry*& first = bucket(dentry.hash);
  dentry.hash_next = first;
  first = &dentry;
  ++count_;
}

void ChildNames::erase(Dentry& dentry) {
  Dentry** link = &bucket(dentry.hash);
  while (*link != &dentry) {
    link = &(*link)->hash_next;
  }
  *link = dentry.hash_next;
  --count_;
  if (count_ == 0) {
    buckets_ = {};
  } else if (buckets_.size() > kLeast && count_ < buckets_.size() / kSparse) {
    try {
      resize(buckets_.size() / 2);
    } catch (const std::bad_alloc&) {  // as large as it is, then
    }
  }
}

void ChildNames::resize(std::size_t size) {
  std::vector<Dentry*> old(size, nullptr);
  old.swap(buckets_);
  for (Dentry* at : old) {
    while (at != nullptr) {
      Dentry* const next = at->hash_next;
      Dentry*& first = bucket(at->hash);
      at->hash_next = first;
      first = at;
      at = next;
    }
  }
}

}  // namespace plyfs::node
