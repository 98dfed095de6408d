#include "filesystems.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "call.h"
#include "process.h"
#include "system.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr int kEnd_s = 60;  // a limit for hangs only

void must(const std::string& result, const std::string& what) {
  if (result != "ok") {
    throw std::runtime_error("cannot mount a filesystem for layers: " + what + ": " + result);
  }
}

void must_run(const Arguments& command) {
  const Ran ran = run(command);
  must(ran.exit_code == 0 ? "ok" : ran.err, command[0]);
}

bool is_on_disk(const std::string& kind) {
  return kind == "ext4" || kind == "xfs" || kind == "btrfs" || kind == "btrfs-subvolume";
}

/// The name under which mkfs knows it.
std::string type_of(const std::string& kind) { return kind.substr(0, kind.find('-')); }

bool tmpfs_has_user_xattrs() {
  static const bool kHas = [] {
    const std::string directory = fresh_directory();
    must(outcome(::mount("plyfs-layer", directory.c_str(), "tmpfs", 0, "size=1m")), "tmpfs");
    const bool has = takes_user_xattrs(directory);
    must(outcome(::umount2(directory.c_str(), 0)), "tmpfs");
    (void)call::rmdir(directory);
    return has;
  }();
  return kHas;
}

void mount_image(const std::string& kind, const std::string& directory,
                 const std::string& scratch) {
  const std::string image = scratch + "/image";
  must(call::create(image), image);
  must(call::truncate(image, off_t{400} << 20U), image);  // xfs wants 300 MiB
  must_run({"mkfs." + type_of(kind), kind == "ext4" ? "-F" : "-f", image});
  must_run({"mount", "-o", "loop", image, directory});
  (void)call::rmdir(directory + "/lost+found");
}

void mount_kind(const std::string& kind, const std::string& directory, const std::string& scratch) {
  const std::string low = scratch + "/low";
  const std::string up = scratch + "/up";
  const std::string work = scratch + "/work";
  const std::string layers = "lowerdir=" + low + ",upperdir=" + up + ",workdir=" + work;
  for (const std::string& path : {low, up, work}) {
    must(call::mkdir(path), path);
  }
  if (kind == "tmpfs") {
    must(outcome(::mount("plyfs-layer", directory.c_str(), "tmpfs", 0, "mode=0755")), kind);
  } else if (kind == "tmpfs-small") {
    must(outcome(::mount("plyfs-layer", directory.c_str(), "tmpfs", 0, "mode=0755,size=1100k")),
         kind);
  } else if (kind == "failing") {
    must(call::create(failing_rules(scratch)), kind);
    const dev_t covered = status(directory).st_dev;
    (void)start({failing_fs(), low, failing_rules(scratch), directory});
    while (status(directory).st_dev == covered) {
      std::this_thread::yield();
    }
  } else if (kind == "btrfs-subvolume") {
    mount_image(kind, whole_btrfs(scratch), scratch);
    must_run({"btrfs", "subvolume", "create", whole_btrfs(scratch) + "/subvolume"});
    must_run({"mount", "--bind", whole_btrfs(scratch) + "/subvolume", directory});
  } else if (is_on_disk(kind)) {
    mount_image(kind, directory, scratch);
  } else if (kind == "overlay") {
    must(mount_overlay(directory, layers), kind);
  } else if (kind == "plyfs") {
    must_run({plyfs_program(), "mount", "-o", layers, directory});
  } else if (kind == "bindfs") {
    // Its attributes would go on saying what they said before a change by another name.
    must_run({kind, "-o", "attr_timeout=0", low, directory});
  } else {
    must_run({kind, "-o", layers, directory});
  }
}

}  // namespace

std::string whole_btrfs(const std::string& scratch) { return scratch + "/low"; }

std::string failing_rules(const std::string& scratch) { return scratch + "/rules"; }

std::string failing_fs() {
  std::string self(4096, '\0');
  const ssize_t size = ::readlink("/proc/self/exe", self.data(), self.size());
  self.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return self.substr(0, self.rfind('/') + 1) + "plyfs-failing-fs";
}

std::string MountedFilesystem::quick_kind() { return missing("tmpfs").empty() ? "tmpfs" : "ext4"; }

std::string MountedFilesystem::missing(const std::string& kind) {
  if (!is_root()) {
    return "needs root: mounting filesystems";
  }
  if (kind == "tmpfs" && !tmpfs_has_user_xattrs()) {
    return "needs a tmpfs with user.* xattrs (Linux 6.6)";
  }
  const std::string program = is_on_disk(kind) ? "mkfs." + type_of(kind) : kind;
  const bool needs_program = is_on_disk(kind) || kind == "bindfs" || kind == "fuse-overlayfs";
  if (needs_program && run({"which", program}).exit_code != 0) {
    return "needs " + program;
  }
  if (is_on_disk(kind) && !exists("/dev/loop-control")) {
    return "needs loop devices";
  }
  return {};
}

MountedFilesystem::MountedFilesystem(const std::string& kind, const std::string& directory,
                                     const std::string& scratch)
    : mounts_{directory} {
  must(call::mkdir(scratch), scratch);
  const std::vector<pid_t> before = children();
  if (kind == "btrfs-subvolume") {
    mounts_.insert(mounts_.begin(), whole_btrfs(scratch));
  }
  mount_kind(kind, directory, scratch);
  for (const pid_t pid : children()) {
    if (std::find(before.begin(), before.end(), pid) == before.end()) {
      daemons_.push_back(pid);
    }
  }
}

MountedFilesystem::~MountedFilesystem() {
  for (auto mount = mounts_.rbegin(); mount != mounts_.rend(); ++mount) {
    if (::umount2(mount->c_str(), 0) != 0) {
      (void)::umount2(mount->c_str(), MNT_DETACH);
    }
  }
  for (const pid_t pid : daemons_) {
    (void)wait_for(pid, kEnd_s);
  }
}

}  // namespace plyfs::tests
