// The locks of the tree. Order (outer first):
//   copy-up lock of a file  →  tree (shared; exclusive to rename directories)  →
//   DirLocks (all that an operation needs, taken at once, in stripe order)  →  NodeTable::mu,
//   ListingCache::mu, FdCache shards (leaves).
// A thread that answers requests never waits for a caller, directly or through /proc, nor for
// anything that needs the mount: whoever waits for the answer may hold what we would wait for
// (execve(2) writes back the files that it closes, under the lock that readers of its /proc take).
// tests/lint/waiting_test.py looks after that.
// None is held across a reply to the kernel. NodeTable::mu is never held across a system call.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/hash.h"
#include "base/mutex.h"
#include "node/node.h"

namespace plyfs::node {

/// Locks of directories, striped: a fixed number of locks for any number of directories. Two
/// directories may share one, so an operation takes all it needs in one step (DirLock).
class TreeLocks {
 public:
  static constexpr std::size_t kStripes = 256;
  SharedMutex tree;

 private:
  friend class DirLock;
  friend class CopyUpLock;
  static std::size_t stripe_of(const Node* node) {
    return hash_pair(reinterpret_cast<std::uintptr_t>(node), 1) % kStripes;
  }
  std::array<SharedMutex, kStripes> directories_;
  std::array<Mutex, kStripes> files_;
};

enum class LockMode : std::uint8_t { kShared, kExclusive };

/// Holds the locks of up to three directories. Taken with the tree lock held.
class DirLock {
 public:
  DirLock(TreeLocks& locks, LockMode mode, const Node* first, const Node* second = nullptr,
          const Node* third = nullptr) NO_THREAD_SAFETY_ANALYSIS : locks_(locks),
                                                                   mode_(mode) {
    for (const Node* node : {first, second, third}) {
      if (node != nullptr) {
        insert(TreeLocks::stripe_of(node));
      }
    }
    for (std::size_t i = 0; i < count_; ++i) {
      SharedMutex& stripe = locks_.directories_[stripes_[i]];
      mode_ == LockMode::kShared ? stripe.lock_shared() : stripe.lock();
    }
  }
  ~DirLock() NO_THREAD_SAFETY_ANALYSIS {
    while (count_ > 0) {
      SharedMutex& stripe = locks_.directories_[stripes_[--count_]];
      mode_ == LockMode::kShared ? stripe.unlock_shared() : stripe.unlock();
    }
  }
  DirLock(const DirLock&) = delete;
  DirLock& operator=(const DirLock&) = delete;

 private:
  /// Keeps the stripes sorted and each once: that is the lock order.
  void insert(std::size_t stripe) {
    std::size_t at = 0;
    while (at < count_ && stripes_[at] < stripe) {
      ++at;
    }
    if (at < count_ && stripes_[at] == stripe) {
      return;
    }
    for (std::size_t i = count_; i > at; --i) {
      stripes_[i] = stripes_[i - 1];
    }
    stripes_[at] = stripe;
    ++count_;
  }

  TreeLocks& locks_;
  const LockMode mode_;
  std::size_t count_ = 0;
  std::array<std::size_t, 3> stripes_{};
};

/// Serialises copy-up of one file; taken with no other lock held.
class CopyUpLock {
 public:
  CopyUpLock(TreeLocks& locks, const Node& node) NO_THREAD_SAFETY_ANALYSIS
      : mutex_(locks.files_[TreeLocks::stripe_of(&node)]) {
    mutex_.lock();
  }
  ~CopyUpLock() NO_THREAD_SAFETY_ANALYSIS { mutex_.unlock(); }
  CopyUpLock(const CopyUpLock&) = delete;
  CopyUpLock& operator=(const CopyUpLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace plyfs::node
