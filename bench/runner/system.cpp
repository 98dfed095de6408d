#include "system.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string_view>

namespace plyfs::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kEndOfDaemonS = 20;
constexpr std::size_t kMostLayersOfMount2 = 16;  // its options are one page
constexpr const char* kOverIoUring = "-uring";   // ends the names of such systems
constexpr const char* kPassthrough = "plyfs-passthrough";
constexpr const char* kVolumePlace = "/volume";

std::string joined(const std::vector<std::string>& words, const std::string& separator) {
  std::string all;
  for (const std::string& word : words) {
    all += (all.empty() ? "" : separator) + word;
  }
  return all;
}

void configure(int context, const char* key, const std::string& value) {
  checked(::fsconfig(context, FSCONFIG_SET_STRING, key, value.c_str(), 0),
          std::string("overlayfs: ") + key);
}

// The newer interface takes each layer by itself.
void mount_many_layers(const std::vector<std::string>& lowers, const std::string& base,
                       const std::string& point, bool user_xattrs) {
  const int context = static_cast<int>(checked(::fsopen("overlay", FSOPEN_CLOEXEC), "fsopen"));
  for (const std::string& lower : lowers) {
    configure(context, "lowerdir+", lower);
  }
  configure(context, "upperdir", base + "/upper");
  configure(context, "workdir", base + "/work");
  if (user_xattrs) {
    checked(::fsconfig(context, FSCONFIG_SET_FLAG, "userxattr", nullptr, 0), "userxattr");
  }
  checked(::fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0), "mount overlayfs");
  const int tree = static_cast<int>(checked(::fsmount(context, FSMOUNT_CLOEXEC, 0), "fsmount"));
  checked(::move_mount(tree, "", AT_FDCWD, point.c_str(), MOVE_MOUNT_F_EMPTY_PATH), "move_mount");
  ::close(tree);
  ::close(context);
}

/// It lies beside us, where we were built as well as where we were installed.
std::string mirror_program() {
  std::error_code failed;
  const fs::path self = fs::read_symlink("/proc/self/exe", failed);
  return (self.parent_path() / "plyfs-bench-mirror").string();
}

}  // namespace

bool is_union(SystemKind kind) {
  return kind == SystemKind::kPlyfs || kind == SystemKind::kOverlayfs ||
         kind == SystemKind::kFuseOverlayfs || kind == SystemKind::kUnionfsFuse;
}

std::vector<System> known_systems(const std::string& plyfs) {
  using enum SystemKind;
  const auto system = [](std::string name, std::string title, SystemKind kind,
                         std::string program = "") {
    System made;
    made.name = std::move(name);
    made.title = std::move(title);
    made.kind = kind;
    made.program = std::move(program);
    return made;
  };
  const std::string mirror = mirror_program();
  std::vector<System> all = {
      system("plain", "a plain directory", kPlain),
      system("bind", "a bind mount of the kernel", kBind),
      system("plyfs", "plyfs, mounted by a user", kPlyfs, plyfs),
      system("plyfs-uring", "plyfs over io_uring, mounted by a user", kPlyfs, plyfs),
      system("plyfs-root", "plyfs, mounted by root", kPlyfs, plyfs),
      system(kPassthrough, "plyfs with passthrough=on, mounted by root", kPlyfs, plyfs),
      system("plyfs-volume", "a volume in plyfs, mounted by a user", kPlyfsVolume, plyfs),
      system("plyfs-volume-uring", "a volume in plyfs over io_uring, mounted by a user",
             kPlyfsVolume, plyfs),
      system("plyfs-volume-root", "a volume in plyfs, mounted by root", kPlyfsVolume, plyfs),
      system("plyfs-volume-bind", "a volume in plyfs as a bind mount in the user's namespace",
             kPlyfsVolume, plyfs),
      system("overlayfs", "the kernel's overlayfs, mounted by root, default options", kOverlayfs),
      system("overlayfs-metacopy", "the same with metacopy=on,redirect_dir=on,index=on",
             kOverlayfs),
      system("overlayfs-userns", "the kernel's overlayfs in a user namespace (userxattr)",
             kOverlayfs),
      system("fuse-overlayfs", "fuse-overlayfs, mounted by a user", kFuseOverlayfs,
             "fuse-overlayfs"),
      system("unionfs-fuse", "unionfs-fuse (cow), mounted by a user", kUnionfsFuse, "unionfs"),
      system("fuse-mirror", "one directory through FUSE and nothing else, mounted by a user",
             kMirror, mirror),
      system("fuse-mirror-uring", "the same over io_uring", kMirror, mirror),
      system("fuse-mirror-live", "the same where others may change the directory", kMirror, mirror),
      system("bindfs", "bindfs, mounted by a user", kBindfs, "bindfs"),
      system("bindfs-live", "bindfs that believes names and attributes for no time", kBindfs,
             "bindfs"),
      system("mergerfs", "mergerfs of one branch, mounted by root", kMergerfs, "mergerfs"),
  };
  for (System& each : all) {
    each.as_root = each.kind == kBind || each.name.ends_with("-root") ||
                   each.name == kPassthrough || each.kind == kMergerfs ||
                   (each.kind == kOverlayfs && each.name != "overlayfs-userns");
    each.in_namespace = each.name == "overlayfs-userns" || each.name == "plyfs-volume-bind";
    if (each.name == kPassthrough) {
      each.options = ",uring=off,passthrough=on";
    } else if ((each.kind == kPlyfs || each.kind == kPlyfsVolume || each.kind == kMirror) &&
               !each.name.ends_with(kOverIoUring)) {
      each.options = each.name == "fuse-mirror-live" ? ",uring=off,live=on" : ",uring=off";
    } else if (each.name == "bindfs-live") {
      each.options = ",attr_timeout=0,entry_timeout=0,negative_timeout=0";
    } else if (each.name == "overlayfs-metacopy") {
      each.options = ",metacopy=on,redirect_dir=on,index=on";
    } else if (each.name == "overlayfs-userns") {
      each.options = ",userxattr";
    }
    if (each.name == "plyfs-volume-bind") {
      each.options += ",volume_mode=bind";
    }
  }
  return all;
}

std::string obstacle(const System& system) {
  if (system.as_root && ::geteuid() != 0) {
    return "needs root";
  }
  if (!system.program.empty() && !is_installed(system.program)) {
    return system.program + " is not installed";
  }
  if (system.name.ends_with(kOverIoUring)) {
    std::ifstream stream{"/sys/module/fuse/parameters/enable_uring"};
    if (stream.get() != 'Y') {
      return "the kernel does not offer FUSE over io_uring";
    }
  }
  return "";
}

std::string version_of(const System& system) {
  if (system.program.empty()) {
    return "";
  }
  // The program is one that we found ourselves, or that the user named. Some tell of the libraries
  // that they use as well, in any order.
  FILE* const pipe = ::popen(("'" + system.program + "' --version 2>&1").c_str(), "re");
  std::array<char, 256> line{};
  std::string text;
  while (pipe != nullptr &&
         std::fgets(line.data(), static_cast<int>(line.size()), pipe) != nullptr) {
    const std::string_view now = line.data();
    const bool own = now.find("fusermount") == now.npos && now.find("FUSE") == now.npos &&
                     now.find_first_of("0123456789") != now.npos;
    if (own && text.empty()) {
      text = now.substr(0, now.find('\n'));
    }
  }
  if (pipe != nullptr) {
    ::pclose(pipe);
  }
  return text;
}

Mount::Mount(const System& system, Layers& layers, Access access, Storage& storage,
             const Identity& user)
    : system_(system),
      storage_(storage),
      user_(user),
      base_(storage.fresh(layers.medium(), "mount")),
      point_(base_ + "/merged"),
      root_(point_) {
  try {
    for (const char* const name : {"/upper", "/work", "/merged", "/source"}) {
      fs::create_directory(base_ + name);
      checked(::chown((base_ + name).c_str(), user.uid, user.gid), "chown");
    }
    if (!is_union(system.kind)) {
      source_ = base_ + "/source";
      if (access == Access::kRead) {
        source_ = layers.merged();
      } else {
        copy_merged(user, layers.paths(), source_);
      }
    }
    sync_filesystem(base_);
    if (system.kind == SystemKind::kPlain) {
      root_ = source_;
      return;
    }
    if (system.in_namespace) {
      // As with unshare -r: plyfs mounts by itself where it is root.
      where_ = new_namespace(
          user, system.kind == SystemKind::kOverlayfs ? ShownAs::kSelf : ShownAs::kRoot);
    }
    const std::vector<pid_t> before = children();
    const double began = now_seconds();
    mount(layers.paths());
    mount_seconds_ = now_seconds() - began;
    mounted_ = true;
    for (const pid_t child : children()) {
      if (std::find(before.begin(), before.end(), child) == before.end()) {
        daemon_ = child;
      }
    }
    if (system.kind == SystemKind::kPlyfsVolume) {
      root_ += kVolumePlace;
    }
  } catch (...) {
    unmount();
    throw;
  }
}

Mount::~Mount() { unmount(); }

void Mount::mount(const std::vector<std::string>& lowers) {
  if (system_.kind == SystemKind::kBind) {
    checked(::mount(source_.c_str(), point_.c_str(), nullptr, MS_BIND, nullptr), "bind mount");
    return;
  }
  if (system_.kind == SystemKind::kOverlayfs) {
    if (where_.holder == 0) {
      mount_overlayfs(lowers);
    } else {
      run_as(user_, where_, Rights::kKeep, [&] { mount_overlayfs(lowers); });
    }
    return;
  }
  run_as(system_.as_root ? Identity{} : user_, where_, Rights::kKeep,
         [&] { run(command(lowers), {.input = "", .directory = base_, .expect_success = true}); });
}

void Mount::mount_overlayfs(const std::vector<std::string>& lowers) const {
  if (lowers.size() > kMostLayersOfMount2) {
    mount_many_layers(lowers, base_, point_, system_.in_namespace);
    return;
  }
  const std::string options = "lowerdir=" + joined(lowers, ":") + ",upperdir=" + base_ +
                              "/upper,workdir=" + base_ + "/work" + system_.options;
  checked(::mount("overlay", point_.c_str(), "overlay", 0, options.c_str()), "mount overlayfs");
}

Words Mount::command(const std::vector<std::string>& lowers) const {
  const std::string stack = "lowerdir=" + joined(lowers, ":") + ",upperdir=" + base_ +
                            "/upper,workdir=" + base_ + "/work" + system_.options;
  switch (system_.kind) {
    case SystemKind::kPlyfs:
      return {system_.program, "mount", "-o", stack, point_};
    case SystemKind::kPlyfsVolume:
      return {system_.program, "mount", "-o", stack, "-v", source_ + ":" + kVolumePlace, point_};
    case SystemKind::kFuseOverlayfs:
      return {system_.program, "-o", stack, point_};
    case SystemKind::kUnionfsFuse:
      return {system_.program, "-o", "cow", base_ + "/upper=RW:" + joined(lowers, "=RO:") + "=RO",
              point_};
    case SystemKind::kBindfs:
      return {system_.program, "-o", "no-allow-other" + system_.options, source_, point_};
    case SystemKind::kMirror:
      return {system_.program, "-o", system_.options, source_, point_};
    case SystemKind::kMergerfs:
      return {system_.program, "-o", "allow_other", source_, point_};
    case SystemKind::kPlain:
    case SystemKind::kBind:
    case SystemKind::kOverlayfs:
      break;
  }
  throw std::logic_error("no command for " + system_.name);
}

void Mount::kill_daemon() const {
  if (daemon_ > 0) {
    ::kill(daemon_, SIGKILL);
  }
}

void Mount::unmount() noexcept {
  try {
    if (mounted_ && (::geteuid() == 0 || where_.holder > 0)) {
      run_as(where_.holder > 0 ? user_ : Identity{}, where_, Rights::kKeep, [&] {
        // A volume that is a bind mount lies on top.
        (void)::umount2((point_ + kVolumePlace).c_str(), MNT_DETACH);
        if (::umount2(point_.c_str(), 0) != 0) {
          checked(::umount2(point_.c_str(), MNT_DETACH), "umount");
        }
      });
    } else if (mounted_) {
      run({"fusermount3", "-u", point_});
    }
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "plyfs-bench: unmount: %s: %s\n", system_.name.c_str(), failure.what());
    kill_daemon();
  }
  mounted_ = false;
  if (where_.holder > 0) {
    ::kill(where_.holder, SIGKILL);
    (void)::waitpid(where_.holder, nullptr, 0);
    where_ = {};
  }
  if (daemon_ > 0) {
    wait_or_kill(daemon_, kEndOfDaemonS);
    daemon_ = 0;
  }
  storage_.remove(base_);
}

}  // namespace plyfs::bench
