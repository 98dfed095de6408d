// Errors of descriptors that closed while nobody waited: the next FLUSH or fsync returns them.
#pragma once

#include <unordered_map>

#include "base/mutex.h"
#include "plyfs/result.h"

namespace plyfs::volume {

class VolumeNode;

/// Thread-safe. A node is a key here, never followed.
class LateErrors {
 public:
  /// Keeps the first error of a node.
  void keep(const VolumeNode* node, Errno error) {
    const MutexLock lock{mu_};
    errors_.emplace(node, error);
  }
  /// Returns it once.
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
