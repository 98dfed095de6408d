#include "system.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "call.h"
#include "kernel_version.h"
#include "tree.h"
#include "user_namespace.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

System plain() { return {System::Kind::kPlain, "plain", {}, true, true, true}; }

System kernel() {
  if (is_root()) {
    return {
        System::Kind::kKernel, "kernel", "index=on,redirect_dir=on,metacopy=on", true, true, true};
  }
  // The kernel refuses redirect_dir and metacopy together with userxattr, and index needs
  // CAP_DAC_READ_SEARCH in the initial namespace.
  return {System::Kind::kKernel, "kernel", "userxattr", false, false, false};
}

System plyfs() { return {System::Kind::kPlyfs, "plyfs", {}, true, true, true}; }

System plyfs_with(const std::string& option) {
  System system = plyfs();
  system.name += " " + option;
  system.options = option;
  system.redirect = option != "redirect_dir=off";
  system.metacopy = option != "metacopy=off";
  return system;
}

Systems variants() {
  return {plyfs_with("whiteout=aufs"), plyfs_with("whiteout=xattr"), plyfs_with("redirect_dir=off"),
          plyfs_with("metacopy=off")};
}

bool wanted(const System& system) {
  const char* list = std::getenv("PLYFS_TEST_SYSTEMS");
  if (list == nullptr) {
    return true;
  }
  const std::string words = "," + std::string(list) + ",";
  const bool is_variant = system.is_plyfs() && !system.options.empty();
  const std::string word = is_variant ? "variants" : system.name;
  return words.find("," + word + ",") != std::string::npos;
}

Systems only_wanted(Systems systems) {
  std::erase_if(systems, [](const System& system) { return !wanted(system); });
  return systems;
}

std::string missing_kernel() {
  static const std::string kReason = [] {
    const std::string base = workspace() + "/kernel-probe";
    for (const char* name : {"", "/l", "/u", "/w", "/m"}) {
      (void)call::mkdir(base + name);
    }
    const std::string result =
        mount_overlay(base + "/m", "lowerdir=" + base + "/l,upperdir=" + base +
                                       "/u,workdir=" + base + "/w," + kernel().options);
    if (result == "ok") {
      (void)unmount_overlay(base + "/m");
    }
    remove_tree(base);
    return result == "ok" ? std::string() : "overlayfs cannot be mounted here: " + result;
  }();
  return kReason;
}

std::string missing_plyfs() {
  if (call::access("/dev/fuse", R_OK | W_OK) != "ok") {
    return "/dev/fuse cannot be opened";
  }
  return {};
}

}  // namespace

Systems posix_systems() { return only_wanted({plain(), kernel(), plyfs()}); }
Systems unions() { return only_wanted({kernel(), plyfs()}); }
Systems plyfs_only() { return only_wanted({plyfs()}); }
Systems kernel_only() { return only_wanted({kernel()}); }

Systems every_union() {
  Systems systems = {kernel(), plyfs()};
  for (const System& variant : variants()) {
    systems.push_back(variant);
  }
  return only_wanted(systems);
}

Systems every_plyfs() {
  Systems systems = every_union();
  std::erase_if(systems, [](const System& system) { return system.is_kernel(); });
  return systems;
}

std::string missing(const System& system) {
  switch (system.kind) {
    case System::Kind::kPlain:
      return {};
    case System::Kind::kKernel:
      return missing_kernel();
    case System::Kind::kPlyfs:
      return missing_plyfs();
  }
  return {};
}

bool reads_xattr_whiteouts(const System& system) {
  return !system.is_kernel() || overlayfs_reads_xattr_whiteouts();
}

std::string plyfs_program() {
  const char* path = std::getenv("PLYFS_BIN");
  return path != nullptr ? path : PLYFS_BUILT_PROGRAM;
}

std::string overlay_prefix() { return is_root() ? "trusted.overlay." : "user.overlay."; }

std::string mount_overlay(const std::string& mountpoint, const std::string& options) {
  const auto mount_it = [&] {
    return outcome(::mount("overlay", mountpoint.c_str(), "overlay", 0, options.c_str()));
  };
  return is_root() ? mount_it() : UserNamespace::shared().run(mount_it);
}

std::string unmount_overlay(const std::string& mountpoint) {
  const auto unmount_it = [&] {
    const std::string result = outcome(::umount2(mountpoint.c_str(), 0));
    if (result != "ok") {
      (void)::umount2(mountpoint.c_str(), MNT_DETACH);
    }
    return result;
  };
  return is_root() ? unmount_it() : UserNamespace::shared().run(unmount_it);
}

std::string seen_overlay(const std::string& mountpoint) {
  return is_root() ? mountpoint : UserNamespace::shared().root() + mountpoint;
}

}  // namespace plyfs::tests
