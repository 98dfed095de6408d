#include "config/umount.h"

#include <cerrno>
#include <string_view>
#include <utility>

#include "config/bound_volumes.h"
#include "config/failure_text.h"

namespace plyfs::config {
namespace {

Failure refuse(const std::string& target, Errno error, std::string_view remedy) {
  return mount_failure({"cannot unmount", target, error, remedy});
}

std::optional<Failure> busy(const std::string& target) {
  return refuse(target, Errno{EBUSY},
                "something uses it ('fuser -vm' tells what); --lazy detaches it all the same");
}

std::optional<Failure> umount_directly(const std::string& target, const std::string& path,
                                       sys::UnmountMode mode) {
  BoundVolumes volumes;
  if (mode == sys::UnmountMode::kNow) {
    auto asked = BoundVolumes::of(path);
    if (asked) {
      volumes = std::move(*asked);
    } else if (asked.error() == ENOTCONN) {
      // The daemon is dead: what lies on the mount cannot be reached any more, only let go.
      mode = sys::UnmountMode::kLazy;
    }
    if (const Status off = volumes.unmount(); !off) {
      return off.error() == EBUSY ? busy(volumes.busy())
                                  : refuse(volumes.busy(), off.error(), "see what this error says");
    }
  }
  const Status done = sys::unmount_directly(path, mode);
  if (done) {
    return std::nullopt;
  }
  volumes.restore();
  return done.error() == EBUSY ? busy(target)
                               : refuse(target, done.error(), "see what this error says");
}

std::optional<Failure> umount_by_helper(const std::string& target, const std::string& path,
                                        sys::UnmountMode mode, const sys::HostFacts& host) {
  if (host.fusermount.empty()) {
    return refuse(target, Errno{ENOENT}, "install fusermount3 ('apt install fuse3'), or be root");
  }
  const auto result = sys::unmount_by_helper(host.fusermount, path, mode);
  if (!result) {
    return mount_failure({"cannot run the mount program", host.fusermount, result.error(),
                          "install it again ('apt install --reinstall fuse3')"});
  }
  if (result->exit_code == 0) {
    return std::nullopt;
  }
  if (result->error_text.find("busy") != std::string::npos) {
    return busy(target);
  }
  const std::string_view text = result->error_text;
  const std::string remedy = "only the user who mounted it, or root, may; fusermount3 said '" +
                             shown(text.substr(0, text.find('\n'))) + "'";
  return refuse(target, Errno{EPERM}, remedy);
}

}  // namespace

std::optional<Failure> umount(const std::string& target, sys::UnmountMode mode,
                              const sys::HostFacts& host) {
  const auto mounted = sys::find_mount(target);
  if (!mounted) {
    return refuse(target, mounted.error(), "correct the path");
  }
  if (!mounted->has_value()) {
    return refuse(target, Errno{EINVAL}, "nothing is mounted there: correct the path");
  }
  const sys::MountedHere& mount = **mounted;
  if (mount.type != "fuse" && !mount.type.starts_with("fuse.")) {
    return refuse(target, Errno{EINVAL},
                  "a mount of type " + shown(mount.type) + " lies there: use umount(8)");
  }
  if (host.may_mount == sys::Answer::kYes) {
    return umount_directly(target, mount.path, mode);
  }
  return umount_by_helper(target, mount.path, mode, host);
}

}  // namespace plyfs::config
