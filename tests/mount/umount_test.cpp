// plyfs umount: what it takes off, whom it believes, what it says when it cannot.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "filesystems.h"
#include "place.h"
#include "stack.h"
#include "system.h"
#include "volumes.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Items one_layer() { return {file("low/f", "1"), dir("low/proc"), dir("upper"), dir("mnt")}; }

const Arguments kMount = {"mount", "--lower", "low", "--upper", "upper", "mnt"};

bool mount_on(const std::string& path, const char* type) {
  return ::mount("none", path.c_str(), type, 0, nullptr) == 0;
}

TEST_CASE("root's umount does what no FUSE mount tells it", "[umount][root]") {
  on(plyfs_only(), [](const System&) {
    if (!is_root()) {
      return skip("needs root: mounting what is to be a victim");
    }
    const Place place({dir("source"), dir("mnt"), dir("victim")});
    const std::string bait{"../victim\0", 10};
    REQUIRE(outcome(::setxattr(place("source").c_str(), "user.plyfs.bound-volumes", bait.data(),
                               bait.size(), 0)) == "ok");
    REQUIRE(mount_on(place("victim"), "tmpfs"));
    (void)std::ofstream{place("rules")};
    const pid_t hostile = start({failing_fs(), place("source"), place("rules"), place("mnt")});
    while (!is_mounted(place("mnt"))) {
      REQUIRE(wait_for(hostile, 0) == -1);
    }
    CHECK(place.plyfs({"umount", "mnt"}).exit_code == 0);
    CHECK_FALSE(is_mounted(place("mnt")));
    CHECK(is_mounted(place("victim")));
    (void)wait_for(hostile, 60);
    CHECK(outcome(::umount2(place("victim").c_str(), MNT_DETACH)) == "ok");
  });
}

TEST_CASE("a mountpoint may hold any byte", "[umount]") {
  on(plyfs_only(), [](const System&) {
    const Place place({file("low/f", "1"), dir("upper")});
    for (const std::string name : {"a\rb", "a\vb", "a\fb", "a b\tc\nd", "a\\b\\040", "a#b"}) {
      INFO(name);
      REQUIRE(call::mkdir(place(name)) == "ok");
      REQUIRE(place.plyfs({"mount", "--lower", "low", "--upper", "upper", name}).exit_code == 0);
      const Ran off = place.plyfs({"umount", name});
      INFO(off.err);
      CHECK(off.exit_code == 0);
      CHECK(call::rmdir(place(name)) == "ok");
    }
  });
}

TEST_CASE("a busy umount names what is mounted inside", "[umount][root]") {
  on(plyfs_only(), [](const System&) {
    if (!is_root()) {
      return skip("needs root: mounting inside the mount");
    }
    const Place place(one_layer());
    REQUIRE(place.plyfs(kMount).exit_code == 0);
    REQUIRE(mount_on(place("mnt/proc"), "proc"));
    const Ran busy = place.plyfs({"umount", "mnt"});
    CHECK(busy.exit_code == 32);
    INFO(busy.err);
    CHECK(contains(busy.err, "mounted inside it: " + place("mnt/proc") + ";"));
    REQUIRE(outcome(::umount2(place("mnt/proc").c_str(), 0)) == "ok");
    CHECK(place.plyfs({"umount", "mnt"}).exit_code == 0);
  });
}

TEST_CASE("what the host has mounted below a volume's source goes with the volume",
          "[umount][volume][root]") {
  on(volume_modes(), [](const System& system) {
    if (!is_root() || !contains(system.name, "bind")) {
      return skip("only root binds volumes");
    }
    const HostDirectory host({file("f", "1"), dir("in")});
    REQUIRE(mount_on(host("in"), "tmpfs"));
    REQUIRE(call::create(host("in/g"), "2") == "ok");
    REQUIRE(mount_on((call::mkdir(host("in/deep")), host("in/deep")), "tmpfs"));
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(host(), "/v", "ro"));
    CHECK(content(stack("v/in/g")) == "2");
    const auto umount = [&] { return run({plyfs_program(), "umount", stack.mountpoint()}); };
    {
      const File used(stack("v/f"), O_RDONLY);
      CHECK(umount().exit_code == 32);
      CHECK(content(stack("v/in/g")) == "2");
      CHECK(call::create(stack("v/in/x")) == "EROFS");
      CHECK(is_mounted(stack("v/in/deep")));
    }
    // What somebody has mounted there since is theirs.
    REQUIRE(mount_on(stack("v/in/deep"), "tmpfs"));
    const Ran busy = umount();
    CHECK(busy.exit_code == 32);
    REQUIRE(outcome(::umount2(stack("v/in/deep").c_str(), 0)) == "ok");
    CHECK(umount().err == "");
    CHECK(stack.await_death() == 0);
    CHECK(outcome(::umount2(host("in/deep").c_str(), 0)) == "ok");
    CHECK(outcome(::umount2(host("in").c_str(), 0)) == "ok");
  });
}

TEST_CASE("a lazy umount asks no daemon", "[umount]") {
  on(plyfs_only(), [](const System&) {
    const Place place(one_layer());
    REQUIRE(place.plyfs(kMount).exit_code == 0);
    const std::vector<pid_t> running = place.daemons();
    REQUIRE(running.size() == 1);
    REQUIRE(::kill(running[0], SIGSTOP) == 0);
    CHECK(place.plyfs({"umount", "--lazy", "mnt"}).exit_code == 0);
    CHECK_FALSE(is_mounted(place("mnt")));
    REQUIRE(::kill(running[0], SIGCONT) == 0);
    CHECK(wait_for(running[0], 60) == 0);
  });
}

}  // namespace
}  // namespace plyfs::tests
