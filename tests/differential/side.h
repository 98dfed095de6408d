// One of the two mounts under comparison, seen by the executor: a root to stand in and a table of
// open descriptors.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "operations.h"

namespace plyfs::difftest {

/// What a descriptor that was opened read-only before a copy-up reads afterwards.
enum class StaleReads : std::uint8_t {
  kNever,     ///< one inode has one content: what plyfs promises
  kPossible,  ///< the lower file's old content: kernel overlayfs ("Non-standard behavior")
};

/// The process's own root and /proc/self/fd, which stay reachable from inside a chroot.
class Host {
 public:
  Host();
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Makes the host's root the process's root and working directory again.
  void enter() const;
  [[nodiscard]] int own_descriptors() const { return own_descriptors_; }

 private:
  int root_;
  int own_descriptors_;
};

/// Guarded by caller: root directory and working directory belong to the process.
class Side {
 public:
  Side(std::string name, std::string mountpoint, StaleReads stale_reads, const Host& host)
      : name_(std::move(name)),
        mountpoint_(std::move(mountpoint)),
        stale_reads_(stale_reads),
        host_(host) {
    slots_.fill(-1);
  }
  ~Side() { close(); }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  /// Opens the mount's root. Returns 0 or an errno.
  int open();
  /// Closes every descriptor, so that the mount can be unmounted.
  void close();
  /// Makes the mount's root the process's root, and the directory of slot `at` (or that root, when
  /// `at` is -1) its working directory. Returns 0 or the errno of entering that directory.
  [[nodiscard]] int enter(int at = -1) const;

  [[nodiscard]] int slot(int index) const { return slots_[static_cast<std::size_t>(index)]; }
  /// Closes what the slot held. `descriptor` may be -1.
  void put(int index, int descriptor);
  /// A descriptor that reads the file's content as it is now, whatever `descriptor` is.
  /// The same descriptor, or a new one that the caller closes.
  [[nodiscard]] int fresh_reader(int descriptor) const;

  [[nodiscard]] const Host& host() const { return host_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& mountpoint() const { return mountpoint_; }

 private:
  std::string name_;
  std::string mountpoint_;
  StaleReads stale_reads_;
  const Host& host_;
  int root_ = -1;
  std::array<int, kSlots> slots_{};
};

}  // namespace plyfs::difftest
