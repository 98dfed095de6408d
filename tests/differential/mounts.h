// Mounting and unmounting the two sides.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "side.h"

namespace plyfs::difftest {

/// Directories of one mount.
struct Stack {
  std::vector<std::string> lowers;  ///< topmost first
  std::string upper;
  std::string work;
  std::string mountpoint;
};

/// One way to mount a stack. Guarded by caller.
class Driver {
 public:
  virtual ~Driver() = default;
  /// Returns when the mount is there. An empty string, or what failed.
  virtual std::string mount(const Stack& stack) = 0;
  /// Returns when nothing uses the layers any more. An empty string, or what failed.
  virtual std::string unmount(const std::string& mountpoint) = 0;
  [[nodiscard]] virtual StaleReads stale_reads() const = 0;
  /// The plyfs binary; empty where this driver is not it.
  [[nodiscard]] virtual std::string program() const { return {}; }
  /// `plyfs NAME`, or plyfs-dump for the name "dump", with the stack as this driver mounts it.
  [[nodiscard]] virtual std::vector<std::string> command(const std::string& /*name*/,
                                                         const Stack& /*stack*/) const {
    return {};
  }
};

/// Kernel overlayfs with these mount options.
std::unique_ptr<Driver> kernel_driver(std::string options);

/// The plyfs binary with these -o words; its messages are appended to the file `log`.
std::unique_ptr<Driver> plyfs_driver(std::string binary, std::string options, std::string log);

/// The device number's minor of the mount at `mountpoint` (a FUSE connection's number), or 0.
/// Asks the mount table, so that it works while the mount hangs.
unsigned connection_of(const std::string& mountpoint);

}  // namespace plyfs::difftest
