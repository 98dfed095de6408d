// Errors of descriptors that were closed when nobody asked: told at the next occasion.
#pragma once

#include <unordered_map>

#include "base/mutex.h"
#include "plyfs/result.h"

namespace plyfs::volume {

class VolumeNode;

/// Thread-safe. A node is a key here, never followed.
class LateErrors {
 public:
  /// The first one stays.
  void keep(const VolumeNode* node, Errno error) {
    const MutexLock lock{mu_};
    errors_.emplace(node, error);
  }
  /// Told once.
  Status take(const VolumeNode* node) {
    const MutexLock lock{mu_};
    const auto found = errors_.find(node);
    if (found == errors_.end()) {
      return {};
    }
    const Errno error = found->second;
    errors_.erase(found);
    return error;
  }

 private:
  Mutex mu_;
  std::unordered_map<const VolumeNode*, Errno> errors_ GUARDED_BY(mu_);
};

}  // namespace plyfs::volume
