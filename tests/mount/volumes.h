// Volumes for tests: host directories beside the stack, and the ways in which a mount shows them.
#pragma once

#include <string>
#include <vector>

#include "stack.h"

namespace plyfs::tests {

/// plyfs with its volumes served by the daemon ("fuse") and, as root, bound over it ("bind").
Systems volume_modes();
/// Only those where our daemon answers.
Systems served_volumes();

/// A directory on the host that goes away with this object. It lies in the workspace, or in the
/// directory $PLYFS_TEST_VOLUMES: on NFS, say.
class HostDirectory {
 public:
  explicit HostDirectory(const Items& items = {});
  ~HostDirectory();
  HostDirectory(const HostDirectory&) = delete;
  HostDirectory& operator=(const HostDirectory&) = delete;
  std::string operator()(const std::string& path = {}) const;

 private:
  std::string root_;
};

/// ",volume=SOURCE:DESTINATION[:ro]", joined: mount options.
std::string volume(const std::string& source, const std::string& destination,
                   const std::string& options = {});

/// Names in a directory whose d_ino or d_type is not what stat says.
std::vector<std::string> listed_unlike_stat(const std::string& path);

}  // namespace plyfs::tests
