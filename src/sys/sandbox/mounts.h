// The mounts of a root directory of its own. All of it happens in a mount namespace of ours.
#pragma once

#include <string>

#include "sys/sandbox/step.h"

namespace plyfs::sys::sandbox {

/// A tmpfs for other mounts, which no bind mount of a directory above shows.
Step mount_stage(const std::string& path);
/// `options` as of mount(8) for tmpfs: "mode=1777,size=64m".
Step mount_tmpfs(const std::string& path, const std::string& options);
/// Of the pid namespace that the caller is in.
Step mount_proc(const std::string& path);
/// A tmpfs with what every program expects in /dev, terminals of its own and shared memory among
/// it. `tty_group`: group 5 is mapped, which Unix gives terminals to.
Step make_devices(const std::string& path, bool tty_group);
/// The kernel's overlayfs, with its marks in user.overlay.*.
struct Overlay {
  std::string lower;
  std::string upper;  ///< empty: read-only, and no work directory
  std::string work;
  bool is_volatile = false;
};
Step mount_overlay(const std::string& path, const Overlay& overlay);
/// Takes off what is mounted at `path`, with all in it, now; users keep what they have.
Status detach(const std::string& path);

/// Moves the calling process into a mount namespace in which `root` is all that there is.
Step enter_root(const std::string& root);

/// Brings the loopback device of a network namespace up.
Status raise_loopback();
Status set_host_name(const std::string& name);

}  // namespace plyfs::sys::sandbox
