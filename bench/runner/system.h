#pragma once

// The filesystems that are compared, and one mount of one of them.

#include <sys/types.h>

#include <string>
#include <vector>

#include "fixture.h"
#include "process.h"
#include "storage.h"

namespace plyfs::bench {

enum class SystemKind {
  kPlain,          ///< a directory
  kBind,           ///< mount --bind of one
  kPlyfs,          ///< the union
  kPlyfsVolume,    ///< a volume in a union
  kOverlayfs,      ///< the kernel's
  kFuseOverlayfs,  ///< and whatever takes its command line
  kUnionfsFuse,
  kBindfs,
  kMergerfs,
  kMirror,  ///< plyfs-bench-mirror: what FUSE itself costs
};

struct System {
  std::string name;
  std::string title;  ///< for the reader: what it is, and who mounted it
  SystemKind kind = SystemKind::kPlain;
  bool as_root = false;       ///< mounted by root; otherwise by the user
  bool in_namespace = false;  ///< mounted by the user in a user namespace of theirs
  std::string program;
  std::string options;  ///< added to the mount options
};

/// Has it layers? The others show one directory.
bool is_union(SystemKind kind);

/// Everything we know how to mount; `plyfs` is the program. Not all need be on this machine.
std::vector<System> known_systems(const std::string& plyfs);

/// Why it cannot be measured here, as far as can be said without trying; empty if nothing is known.
std::string obstacle(const System& system);

/// The first line that the system's program says of its version; empty for the kernel's.
std::string version_of(const System& system);

enum class Access { kRead, kWrite };

/// A fresh mount with an empty upper, over layers that it leaves as they are. Systems without
/// layers get a copy of them to write to, or share one for reading. The destructor unmounts, waits
/// for the daemon and removes what was written.
class Mount {
 public:
  Mount(const System& system, Layers& layers, Access access, Storage& storage,
        const Identity& user);
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  /// Where the content is seen, in `where()`.
  [[nodiscard]] const std::string& root() const { return root_; }
  [[nodiscard]] Namespace where() const { return where_; }
  [[nodiscard]] pid_t daemon() const { return daemon_; }  ///< 0: the kernel itself
  [[nodiscard]] double mount_seconds() const { return mount_seconds_; }
  /// Ends the daemon when nothing else helps.
  void kill_daemon() const;

 private:
  void mount(const std::vector<std::string>& lowers);
  void mount_overlayfs(const std::vector<std::string>& lowers) const;
  [[nodiscard]] Words command(const std::vector<std::string>& lowers) const;
  void unmount() noexcept;

  System system_;
  Storage& storage_;
  Identity user_;
  std::string base_;
  std::string point_;
  std::string root_;
  std::string source_;  ///< the directory that a system without layers shows
  Namespace where_;
  pid_t daemon_ = 0;
  bool mounted_ = false;
  double mount_seconds_ = 0;
};

}  // namespace plyfs::bench
