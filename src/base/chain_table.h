// A hash table made of the objects in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace plyfs {

/// Each object has a pointer to the next one of its bucket. So an object costs no allocation, and
/// finding it misses the processor's cache only for the bucket and the object itself. The table has
/// about as many buckets as objects; it owns none. Not thread-safe. `Links` links the objects:
///   static Object*& next(Object&);
///   static std::uint64_t hash(const Object&);   // good in its lowest bits
template <typename Object, typename Links>
class ChainTable {
 public:
  [[nodiscard]] bool empty() const { return count_ == 0; }

  /// The object of that hash for which `is(object)` holds; null when there is none.
  template <typename Is>
  [[nodiscard]] Object* find(std::uint64_t hash, const Is& is) const {
    Object* at = buckets_.empty() ? nullptr : buckets_[hash & (buckets_.size() - 1)];
    while (at != nullptr && !is(*at)) {
      at = Links::next(*at);
    }
    return at;
  }

  /// Makes room for one more object, so that insert() cannot fail. Throws std::bad_alloc.
  void make_room() {
    if (buckets_.empty()) {
      buckets_.resize(kLeast, nullptr);
    } else if (count_ >= buckets_.size()) {
      resize_if_possible(2 * buckets_.size());
    }
  }

  void insert(Object& object) {
    link(object);
    ++count_;
  }

  void erase(Object& object) {
    Object** at = &bucket(object);
    while (*at != &object) {
      at = &Links::next(**at);
    }
    *at = Links::next(object);
    --count_;
    if (count_ == 0) {
      buckets_ = {};
    } else if (buckets_.size() > kLeast && count_ < buckets_.size() / kSparse) {
      resize_if_possible(buckets_.size() / 2);
    }
  }

  /// Calls `visit(object)` with each.
  template <typename Visit>
  void for_each(const Visit& visit) {
    for (Object* at : buckets_) {
      while (at != nullptr) {
        Object* const next = Links::next(*at);  // it may be freed
        visit(*at);
        at = next;
      }
    }
  }

  /// The same; afterwards there is none.
  template <typename Visit>
  void take_all(const Visit& visit) {
    for_each(visit);
    buckets_ = {};
    count_ = 0;
  }

 private:
  static constexpr std::size_t kLeast = 8;   // one line of the cache
  static constexpr std::size_t kSparse = 8;  // buckets for each object

  [[nodiscard]] Object*& bucket(const Object& object) {
    return buckets_[Links::hash(object) & (buckets_.size() - 1)];
  }

  void link(Object& object) {
    Object*& first = bucket(object);
    Links::next(object) = first;
    first = &object;
  }

  /// Without memory the chains are longer, or the table larger, for a while.
  void resize_if_possible(std::size_t size) {
    std::vector<Object*> old;
    try {
      old.resize(size, nullptr);
    } catch (const std::bad_alloc&) {
      return;
    }
    old.swap(buckets_);
    for (Object* at : old) {
      while (at != nullptr) {
        Object* const next = Links::next(*at);
        link(*at);
        at = next;
      }
    }
  }

  std::vector<Object*> buckets_;  ///< a power of two, or none
  std::size_t count_ = 0;
};

}  // namespace plyfs
