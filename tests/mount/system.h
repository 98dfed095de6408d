// The systems on which one test body runs, and the room on disk in which they are built.
#pragma once

#include <string>
#include <vector>

#include "catch.h"
#include "process.h"
#include "skip.h"

namespace plyfs::tests {

/// Something that shows a merged tree.
struct System {
  enum class Kind {
    kPlain,   ///< a directory that holds the merged content: what POSIX says
    kKernel,  ///< overlayfs: as root, or with userxattr in a user namespace
    kPlyfs,   ///< root: mount(2); others: fusermount3
  };

  Kind kind = Kind::kPlain;
  std::string name;
  std::string options;  ///< beside the layers, comma separated
  bool redirect = true;
  bool metacopy = true;
  bool index = true;

  [[nodiscard]] bool is_plain() const { return kind == Kind::kPlain; }
  [[nodiscard]] bool is_kernel() const { return kind == Kind::kKernel; }
  [[nodiscard]] bool is_plyfs() const { return kind == Kind::kPlyfs; }
};

using Systems = std::vector<System>;

// PLYFS_TEST_SYSTEMS ("plain,kernel,plyfs,variants") leaves out what it does not name; default:
// all. "variants" are those of plyfs: other whiteouts, redirect_dir and metacopy off.
Systems posix_systems();  ///< plain, kernel, plyfs
Systems unions();         ///< kernel, plyfs
Systems every_union();    ///< kernel, plyfs and its variants
Systems plyfs_only();     ///< plyfs
Systems every_plyfs();    ///< plyfs and its variants of whiteouts, redirect_dir and metacopy
Systems kernel_only();

/// Why `system` cannot be had on this machine; empty when it can.
std::string missing(const System& system);

// PLYFS_TEST_OPTIONS goes to every mount of plyfs.

/// Runs `body` once per system, each in a section named like it (`-c plyfs` selects one). A hang
/// kills the daemon, so that it ends as a failure.
template <typename Body>
void on(const Systems& systems, const Body& body) {
  constexpr unsigned kHang_s = 480;
  for (const System& system : systems) {
    DYNAMIC_SECTION(system.name) {
      const std::string lack = missing(system);
      if (lack.empty()) {
        const Watchdog watchdog(kHang_s);
        body(system);
      } else {
        skip(system.name + ": " + lack);
      }
    }
  }
}

/// Whether `system` honours an empty file that is marked as a whiteout in a lower layer.
bool reads_xattr_whiteouts(const System& system);

/// The plyfs program: $PLYFS_BIN, else the one of this build directory.
std::string plyfs_program();

/// A directory that holds all stacks of this process and goes away with it. On tmpfs if that has
/// user.* xattrs, else (root) on ext4; with PLYFS_TEST_FS=ext4|xfs|btrfs (root) on a loop image of
/// that filesystem. As root it is a mount
/// of its own in a private mount namespace, so no mount outlives the process.
const std::string& workspace();
std::string workspace_filesystem();  ///< "tmpfs", "ext4", ...

/// "trusted.overlay." as root, else "user.overlay.".
std::string overlay_prefix();

/// mount -t overlay, in the user namespace when not root. Returns an outcome.
std::string mount_overlay(const std::string& mountpoint, const std::string& options);
std::string unmount_overlay(const std::string& mountpoint);
/// Where this process sees what mount_overlay() mounted.
std::string seen_overlay(const std::string& mountpoint);

}  // namespace plyfs::tests
