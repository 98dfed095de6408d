#include "config/umount.h"

#include <cerrno>
#include <string_view>
#include <utility>

#include "config/failure_text.h"
#include "sys/path_check.h"
#include "sys/process_facts.h"

namespace plyfs::config {
namespace {

constexpr std::size_t kMostNamed = 3;

Failure refuse(const std::string& target, Errno error, std::string_view remedy) {
  return mount_failure({"cannot unmount", target, error, remedy});
}

/// What is mounted inside comes first: fuser(1) does not tell of it, and it is the usual cause
/// (/proc and /dev in a root directory).
std::optional<Failure> busy(const std::string& target, const std::vector<std::string>& inside) {
  std::string names;
  for (std::size_t i = 0; i < inside.size() && i < kMostNamed; ++i) {
    names += (i == 0 ? "" : ", ") + shown(inside[i]);
  }
  names += inside.size() > kMostNamed ? ", ..." : "";
  const std::string remedy =
      names.empty() ? "something uses it ('fuser -vm' tells what); --lazy detaches it all the same"
                    : "mounted inside it: " + names +
                          "; unmount these first, or detach all of it with --lazy";
  return refuse(target, Errno{EBUSY}, remedy);
}

std::optional<Failure> umount_directly(const UmountRequest& request, const sys::MountEntry& mount) {
  BoundVolumes volumes;
  if (request.mode == sys::UnmountMode::kNow) {
    volumes = BoundVolumes{mount.path, request.bound};
    if (const Status off = volumes.unmount(); !off) {
      return off.error() == EBUSY ? busy(volumes.busy(), volumes.inside())
                                  : refuse(volumes.busy(), off.error(), "see what this error says");
    }
  }
  Status done = sys::unmount_directly(mount, request.mode);
  if (!done && done.error() == EBUSY && request.bound.empty() && is_dead(mount)) {
    // What lies on the mount cannot be reached any more, only let go.
    done = sys::unmount_directly(mount, sys::UnmountMode::kLazy);
  }
  if (done) {
    return std::nullopt;
  }
  const std::vector<std::string> inside = mounts_inside(mount.path);
  volumes.restore();
  return done.error() == EBUSY ? busy(request.target, inside)
                               : refuse(request.target, done.error(), "see what this error says");
}

std::optional<Failure> umount_by_helper(const UmountRequest& request, const sys::MountEntry& mount,
                                        const sys::HostFacts& host) {
  const std::string& target = request.target;
  if (host.fusermount.empty()) {
    return refuse(target, Errno{ENOENT}, "install fusermount3 ('apt install fuse3'), or be root");
  }
  const auto result = sys::unmount_by_helper(host.fusermount, mount.path, request.mode);
  if (!result) {
    return mount_failure({"cannot run the mount program", host.fusermount, result.error(),
                          "install it again ('apt install --reinstall fuse3')"});
  }
  if (result->exit_code == 0) {
    return std::nullopt;
  }
  if (result->error_text.find("busy") != std::string::npos) {
    return busy(target, mounts_inside(mount.path));
  }
  const std::string_view text = result->error_text;
  const std::string remedy = "only the user who mounted it, or root, may; fusermount3 said '" +
                             shown(text.substr(0, text.find('\n'))) + "'";
  return refuse(target, Errno{EPERM}, remedy);
}

}  // namespace

bool is_own_mount(const sys::MountEntry& mount) {
  const std::string word = "user_id=" + std::to_string(sys::effective_uid());
  return ("," + mount.options + ",").find("," + word + ",") != std::string::npos;
}

bool is_dead(const sys::MountEntry& mount) {
  if (!is_own_mount(mount)) {
    return false;
  }
  const auto asked = sys::inspect_directory(mount.path, sys::DirectoryUse::kMountOn);
  return !asked && asked.error() == ENOTCONN;
}

std::string clear_mountpoint(const std::string& mountpoint, const sys::HostFacts& host) {
  const auto path = sys::kernel_path(mountpoint);
  const auto table = sys::mount_table();
  if (!path || !table) {
    return {};
  }
  const sys::MountEntry* const mount = sys::mounted_at(*table, *path);
  if (mount == nullptr || !mount->type.starts_with("fuse.")) {
    return {};
  }
  if (is_dead(*mount)) {
    const UmountRequest request{mountpoint, sys::UnmountMode::kLazy, {}};
    const auto failure = umount(request, host);
    return failure ? failure->what
                   : "took off a dead mount (its daemon had ended): " + shown(mountpoint);
  }
  if (mount->type != "fuse.plyfs") {
    return {};
  }
  return "a plyfs mount is at " + shown(mountpoint) +
         " already, and is covered by this one; 'plyfs umount' takes off the upper one first";
}

std::optional<Failure> umount(const UmountRequest& request, const sys::HostFacts& host) {
  const auto path = sys::kernel_path(request.target);
  if (!path) {
    return refuse(request.target, path.error(), "correct the path");
  }
  const auto table = sys::mount_table();
  if (!table) {
    return refuse(request.target, table.error(), "mount /proc: what is mounted stands there");
  }
  const sys::MountEntry* const mount = sys::mounted_at(*table, *path);
  if (mount == nullptr) {
    return refuse(request.target, Errno{EINVAL}, "nothing is mounted there: correct the path");
  }
  if (mount->type != "fuse" && !mount->type.starts_with("fuse.")) {
    return refuse(request.target, Errno{EINVAL},
                  "a mount of type " + shown(mount->type) + " lies there: use umount(8)");
  }
  if (host.may_mount == sys::Answer::kYes) {
    return umount_directly(request, *mount);
  }
  return umount_by_helper(request, *mount, host);
}

}  // namespace plyfs::config
