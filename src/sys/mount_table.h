// /proc/self/mountinfo: what is mounted, as this process sees it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plyfs/result.h"

namespace plyfs::sys {

/// One line of proc_pid_mountinfo(5), with the octal escapes taken back.
struct MountEntry {
  int id = 0;
  int parent = 0;
  std::string device;  ///< "MAJOR:MINOR", st_dev of what it shows
  std::string root;    ///< which directory of its filesystem
  std::string path;    ///< where it lies
  std::string type;    ///< "fuse.plyfs"
  std::string source;
  std::string options;  ///< of the filesystem: "rw,user_id=0,..."
};

using MountTable = std::vector<MountEntry>;

/// Lines that are none are left out. The order of lines says nothing: since Linux 6.8 it is that in
/// which mounts were created, not attached.
MountTable parse_mount_table(std::string_view text);
/// Asks no filesystem but proc(5): it comes back whatever state a mount is in.
Result<MountTable> mount_table();
/// As another process sees it. ENOENT: it has ended; EACCES: it is not ours.
Result<MountTable> mount_table_of(int process);

/// The topmost mount at `path`, which is as the kernel writes it; null where there is none.
const MountEntry* mounted_at(const MountTable& table, std::string_view path);
/// The one at `path` that all others there lie on.
const MountEntry* lowest_at(const MountTable& table, std::string_view path);
/// Those strictly below, each after the one on which it lies.
std::vector<const MountEntry*> mounted_below(const MountTable& table, std::string_view path);

/// Of what a path shows, as MountEntry::device; asks no filesystem. Empty when it cannot be told.
std::string device_name_at(const std::string& path);

/// `path` as the kernel writes it. Asks no filesystem that is mounted at `path` itself, which may
/// be dead or stopped.
Result<std::string> kernel_path(const std::string& path);

}  // namespace plyfs::sys
