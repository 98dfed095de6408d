// Who holds a lock, or keeps a mount in use: what /proc tells of other processes. For commands and
// for a daemon that starts; never for a thread that answers requests.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

struct OtherProcess {
  int id = 0;
  std::optional<uid_t> user;  ///< the real one; nullopt: it has ended
  std::string program;        ///< for messages
};

/// Those that have taken flock(2) on it. Empty when the kernel shows none: it hides those of other
/// pid namespaces. A process that has ended may have left its lock to a child.
std::vector<OtherProcess> lock_holders(BorrowedFd object);

/// Takes the lock of `number` in `file` (0600, made where it is missing), held until the descriptor
/// is closed. EWOULDBLOCK: somebody has it.
Result<UniqueFd> lock_number(const std::string& file, std::uint64_t number);

struct MountUser {
  OtherProcess process;
  bool in_namespace = false;  ///< a mount namespace shows the mount; else a file is open there
};
/// A process that keeps the filesystem of that device ("MAJOR:MINOR") in use, other than `daemon`:
/// by another mount namespace, or by a directory or file. Asks no filesystem. nullopt: none that
/// may be looked at.
std::optional<MountUser> user_of_device(const std::string& device, int daemon);

}  // namespace plyfs::sys
