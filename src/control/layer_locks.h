// Whose upper and work directory are.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::control {

struct Refused {
  Errno error;
  std::string remedy;  ///< names who has it, and the way out
};

/// The locks of one mount. Guarded by caller; held by the process that serves the mount, until it
/// ends. Two locks each: flock(2) of the directory, which excludes mounts of other users and in
/// other namespaces; and a number in a file of our own, which nobody else can take. Anybody who may
/// read a directory can hold the first.
class LayerLocks {
 public:
  /// `directory` is open for reading. Waits some seconds for an owner whose mount is gone or who is
  /// ending; one that lives is told at once.
  std::optional<Refused> take(sys::BorrowedFd directory);

 private:
  std::vector<sys::UniqueFd> numbers_;
};

/// Of a live daemon whose mount is not seen here: who keeps it alive, and what to do. `device` as
/// the daemon tells it. Empty when nobody was found.
std::string kept_alive_by(const std::string& device, int daemon);

}  // namespace plyfs::control
