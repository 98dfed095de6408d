#include "place.h"

#include <sys/mount.h>

#include <algorithm>
#include <csignal>

#include "catch.h"
#include "system.h"
#include "workspace.h"

namespace plyfs::tests {

bool is_mounted(const std::string& mountpoint) {
  return content("/proc/self/mountinfo").find(" " + mountpoint + " ") != std::string::npos;
}

std::string unmount(const std::string& mountpoint) {
  if (is_root()) {
    return outcome(::umount2(mountpoint.c_str(), 0));
  }
  const Ran ran = run({"fusermount3", "-u", mountpoint});
  return ran.exit_code == 0 ? "ok" : ran.err;
}

Place::Place(const Items& items) : root_(fresh_directory()), before_(children()) {
  make_tree(root_, items, overlay_prefix());
}

Place::~Place() {
  for (const pid_t pid : daemons()) {
    ::kill(pid, SIGKILL);
    (void)wait_for(pid, 60);
  }
  if (is_mounted(root_ + "/mnt")) {
    (void)run({is_root() ? "umount" : "fusermount3", is_root() ? "-l" : "-uz", root_ + "/mnt"});
  }
  remove_tree(root_);
}

Ran Place::plyfs(Arguments arguments) const {
  arguments.insert(arguments.begin(), plyfs_program());
  return run(arguments, root_);
}

std::vector<pid_t> Place::daemons() const {
  std::vector<pid_t> found;
  for (const pid_t pid : children()) {
    if (std::find(before_.begin(), before_.end(), pid) == before_.end()) {
      found.push_back(pid);
    }
  }
  return found;
}

void Place::check_nothing_runs(const std::vector<pid_t>& running) const {
  for (const pid_t pid : daemons()) {
    if (std::find(running.begin(), running.end(), pid) == running.end()) {
      CHECK(wait_for(pid, 60) > 0);
    }
  }
}

void Place::check_mounted(const Ran& ran, const Picture& expected) const {
  INFO("stderr: " << ran.err);
  CHECK(ran.exit_code == 0);
  CHECK(ran.out.empty());
  CHECK(ran.err.empty());
  check_and_unmount(expected);
}

void Place::check_and_unmount(const Picture& expected) const {
  REQUIRE(is_mounted((*this)("mnt")));
  CHECK(picture((*this)("mnt")) == expected);
  end();
}

void Place::end() const {
  const std::vector<pid_t> running = daemons();
  CHECK(running.size() == 1);
  CHECK(unmount((*this)("mnt")) == "ok");
  for (const pid_t pid : running) {
    CHECK(wait_for(pid, 60) == 0);
  }
}

}  // namespace plyfs::tests
