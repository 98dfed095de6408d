// Whose upper, work directory and mountpoint are: what others have taken, who lives, who is dying.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "place.h"
#include "system.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr uid_t kStranger = 12345;
constexpr uid_t kNobody = 65534;  // has a name, which fusermount3 wants

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Items one_layer() { return {file("low/f", "1"), dir("upper"), dir("mnt")}; }

const Arguments kMount = {"mount", "--lower", "low", "--upper", "upper", "mnt"};

TEST_CASE("a default work directory that others can have made is not emptied", "[owner]") {
  on(plyfs_only(), [](const System&) {
    Items items = one_layer();
    items.push_back(file("victim/work/precious", "1"));
    items.push_back(symlink("upper.work", "victim"));
    const Place place(items);
    const auto refused = [&] {
      const Ran ran = place.plyfs(kMount);
      INFO(ran.err);
      CHECK(ran.exit_code == 32);
      CHECK_FALSE(is_mounted(place("mnt")));
      place.check_nothing_runs();
    };
    refused();
    CHECK(content(place("victim/work/precious")) == "1");
    // A directory that was moved there.
    REQUIRE(call::unlink(place("upper.work")) == "ok");
    REQUIRE(call::create(place("victim/other")) == "ok");
    REQUIRE(call::rename(place("victim"), place("upper.work")) == "ok");
    refused();
    CHECK(content(place("upper.work/work/precious")) == "1");
    if (is_root()) {
      REQUIRE(call::unlink(place("upper.work/other")) == "ok");
      REQUIRE(outcome(::chown(place("upper.work").c_str(), kStranger, kStranger)) == "ok");
      refused();
      CHECK(content(place("upper.work/work/precious")) == "1");
    }
  });
}

TEST_CASE("a work directory that is named is made", "[owner]") {
  on(plyfs_only(), [](const System&) {
    const Place place(one_layer());
    place.check_mounted(place.plyfs({"-o", "lowerdir=low,upperdir=upper,workdir=work", "mnt"}),
                        {"f=1"});
  });
}

TEST_CASE("a lock of somebody who may not write there keeps nobody from mounting",
          "[owner][root]") {
  on(plyfs_only(), [](const System&) {
    if (!is_root()) {
      return skip("needs root to be two users");
    }
    const Place place(one_layer());
    // The process that took it may have ended, too, and a child of it have it.
    const pid_t holder = start({"setpriv", "--reuid=12345", "--regid=12345", "--clear-groups",
                                "flock", "-x", place("upper"), "sleep", "1000"});
    const std::string inode = std::to_string([&] {
      struct ::stat found {};
      (void)::stat(place("upper").c_str(), &found);
      return found.st_ino;
    }());
    while (!contains(content("/proc/locks"), ":" + inode + " ")) {
      REQUIRE(wait_for(holder, 0) == -1);
    }
    const Ran mounted = place.plyfs(kMount);
    INFO(mounted.err);
    CHECK(mounted.exit_code == 0);
    // A second mount of that upper is excluded all the same.
    REQUIRE(call::mkdir(place("mnt2")) == "ok");
    CHECK(place.plyfs({"mount", "--lower", "low", "--upper", "upper", "--work", "w2", "mnt2"})
              .exit_code == 32);
    (void)::kill(holder, SIGKILL);
    (void)wait_for(holder, 60);
    CHECK(place.plyfs({"umount", "mnt"}).exit_code == 0);
  });
}

TEST_CASE("who has the upper is named while it lives, and waited for while it ends", "[owner]") {
  on(plyfs_only(), [](const System&) {
    Items items = one_layer();
    items.push_back(dir("mnt2"));
    const Place place(items);
    REQUIRE(place.plyfs(kMount).exit_code == 0);
    const std::vector<pid_t> running = place.daemons();
    REQUIRE(running.size() == 1);
    const Ran refused = place.plyfs({"mount", "--lower", "low", "--upper", "upper", "mnt2"});
    CHECK(refused.exit_code == 32);
    INFO(refused.err);
    CHECK(contains(refused.err, "process " + std::to_string(running[0]) + " has it mounted at " +
                                    place("mnt") + ":"));
    // A daemon that a busy machine has not let end yet.
    REQUIRE(::kill(running[0], SIGSTOP) == 0);
    REQUIRE(place.plyfs({"umount", "--lazy", "mnt"}).exit_code == 0);
    const pid_t second = start({plyfs_program(), "mount", "--lower", place("low"), "--upper",
                                place("upper"), place("mnt")});
    CHECK(wait_for(second, 3) == -1);
    REQUIRE(::kill(running[0], SIGCONT) == 0);
    CHECK(wait_for(running[0], 60) == 0);
    CHECK(wait_for(second, 60) == 0);
    CHECK(content(place("mnt/f")) == "1");
    place.end();
  });
}

TEST_CASE("a daemon that another mount namespace keeps alive is named with who does",
          "[owner][root]") {
  on(plyfs_only(), [](const System&) {
    if (!is_root()) {
      return skip("needs root: another mount namespace");
    }
    const Place place(one_layer());
    REQUIRE(place.plyfs(kMount).exit_code == 0);
    const pid_t keeper = start({"unshare", "-m", "--propagation", "private", "sh", "-c",
                                "echo > " + place("ready") + "; exec sleep 1000"});
    while (!std::filesystem::exists(place("ready"))) {
      REQUIRE(wait_for(keeper, 0) == -1);
    }
    REQUIRE(unmount(place("mnt")) == "ok");
    const Ran refused = place.plyfs(kMount);
    CHECK(refused.exit_code == 32);
    INFO(refused.err);
    CHECK(contains(refused.err, "had it mounted at " + place("mnt") + " and goes on: process " +
                                    std::to_string(keeper) + " ("));
    CHECK(contains(refused.err, "in its mount namespace"));
    (void)::kill(keeper, SIGKILL);
    (void)wait_for(keeper, 60);
  });
}

TEST_CASE("a mount over one's own dead mount takes that off", "[owner]") {
  on(plyfs_only(), [](const System&) {
    const Place place(one_layer());
    REQUIRE(place.plyfs(kMount).exit_code == 0);
    const std::vector<pid_t> running = place.daemons();
    REQUIRE(running.size() == 1);
    REQUIRE(::kill(running[0], SIGKILL) == 0);
    while (content(place("mnt/f")) != "<ENOTCONN>") {  // it is not our child: nothing to wait for
      std::this_thread::yield();
    }
    const Ran again = place.plyfs(kMount);
    INFO(again.err);
    CHECK(again.exit_code == 0);
    CHECK(contains(again.err, "took off a dead mount"));
    CHECK(content(place("mnt/f")) == "1");
    // Over a live one it says so.
    const Ran over = place.plyfs({"mount", "--lower", "low", "mnt"});
    CHECK(contains(over.err, "a plyfs mount is at " + place("mnt") + " already"));
    if (over.exit_code == 0) {
      CHECK(unmount(place("mnt")) == "ok");
    }
    CHECK(unmount(place("mnt")) == "ok");
    CHECK_FALSE(is_mounted(place("mnt")));
  });
}

TEST_CASE("a mount whose place for the control socket was taken finds another", "[owner][root]") {
  on(plyfs_only(), [](const System&) {
    if (!is_root()) {
      return skip("needs root to be two users");
    }
    const std::string squatted = "/tmp/plyfs-" + std::to_string(kNobody);
    const Place place({file("low/f", "1"), dir("mnt"), dir("home")});
    REQUIRE(outcome(::chown(place("mnt").c_str(), kNobody, kNobody)) == "ok");
    REQUIRE(outcome(::chown(place("home").c_str(), kNobody, kNobody)) == "ok");
    std::filesystem::remove_all(squatted);  // an earlier run's
    REQUIRE(call::mkdir(squatted) == "ok");
    const auto as_stranger = [&](Arguments words) {
      Arguments all = {
          "setpriv", "--reuid=65534",   "--regid=65534",        "--clear-groups", "env",
          "-u",      "XDG_RUNTIME_DIR", "HOME=" + place("home")};
      all.insert(all.end(), words.begin(), words.end());
      return run(all, place.root());
    };
    const Ran mounted = as_stranger({plyfs_program(), "mount", "--lower", "low", place("mnt")});
    INFO(mounted.err);
    CHECK(mounted.exit_code == 0);
    CHECK(contains(as_stranger({plyfs_program(), "inspect", place("mnt")}).out, "\"Pid\""));
    CHECK(std::filesystem::exists(place("home/.plyfs-run")));
    CHECK(as_stranger({plyfs_program(), "umount", place("mnt")}).exit_code == 0);
    CHECK(std::filesystem::remove_all(squatted) > 0);
  });
}

}  // namespace
}  // namespace plyfs::tests
