#include "store_host.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "system.h"
#include "volumes.h"
#include "workspace.h"

namespace plyfs::tests {

void make(const std::string& root, const Items& items) {
  (void)::mkdir(root.c_str(), 0755);
  make_tree(root, items, overlay_prefix());
}

Host::Host(const Items& image) : root_(fresh_directory()) { make(root_ + "/image", image); }

Host::~Host() {
  for (const std::string& mountpoint : mounted_) {
    if (run({"mountpoint", "-q", mountpoint}).exit_code == 0) {
      (void)plyfs({"umount", "--lazy", mountpoint});
    }
  }
  remove_tree(root_);
}

Arguments Host::command(const Arguments& arguments) const {
  Arguments all{"env", "PLYFS_HOME=" + root_ + "/home", plyfs_program()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

Arguments Host::mount_command(const std::string& name, const Arguments& more) {
  for (const char* kind : {"/m-", "/u-"}) {
    (void)::mkdir((root_ + kind + name).c_str(), 0755);
  }
  mounted_.push_back(root_ + "/m-" + name);
  Arguments all{"mount",          "-o",      "volume_mode=fuse",  "--name", name, "--lower",
                root_ + "/image", "--upper", root_ + "/u-" + name};
  all.insert(all.end(), more.begin(), more.end());
  all.push_back(mounted_.back());
  return all;
}

Ran done(const std::string& out) { return {0, out, ""}; }

std::string said(const Ran& ran) { return std::to_string(ran.exit_code) + " " + ran.out + ran.err; }

std::string write_new(const std::string& path, const std::string& content) {
  File created(path, O_CREAT | O_WRONLY);
  return created.opened() == "ok" ? created.write(content) : created.opened();
}

std::vector<std::string> sorted_names(const std::string& directory) {
  std::vector<std::string> names = names_in(directory);
  std::sort(names.begin(), names.end());
  return names;
}

bool can_mount() { return !served_volumes().empty(); }

}  // namespace plyfs::tests
