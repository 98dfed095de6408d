// The volume store against those who may write to a volume, or to the way to the store.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "catch.h"
#include "process.h"
#include "skip.h"
#include "store_host.h"

namespace plyfs::tests {
namespace {

std::vector<std::string> modes() {
  return is_root() ? std::vector<std::string>{"volume_mode=fuse", "volume_mode=bind"}
                   : std::vector<std::string>{"volume_mode=fuse"};
}

TEST_CASE("a subpath that became a link is not followed by who takes the volume over",
          "[store][volume][attack]") {
  if (!can_mount()) {
    return;
  }
  for (const std::string& mode : modes()) {
    INFO(mode);
    Host host({dir("srv")});
    make(host("secret"), {file("shadow", "host")});
    CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
    make(host.data("web"), {file("part/f", "mine"), file("sub/f", "deep")});
    CHECK_DONE(host.mount("a", {"-o", mode, "-v", "web:/srv:subpath=part"}), "");
    CHECK(content(host.in("a", "srv/f")) == "mine");
    // Live mounts have what they opened; the next one looks anew, and never outside.
    CHECK(call::rename(host.data("web") + "/part", host.data("web") + "/old") == "ok");
    CHECK(call::symlink(host("secret"), host.data("web") + "/part") == "ok");
    CHECK(content(host.in("a", "srv/f")) == "mine");
    const Ran ran = host.mount("b", {"-o", mode, "--volumes-from", "a"});
    CHECK(ran.exit_code == 32);
    CHECK(ran.err.starts_with("plyfs: cannot use the subpath of volume web: part: "));
    CHECK(call::stat(host.in("b", "srv/shadow")) == "ENOENT");
    // A link that stays inside is followed, as it was when the volume was asked for.
    CHECK(call::unlink(host.data("web") + "/part") == "ok");
    CHECK(call::symlink("sub", host.data("web") + "/part") == "ok");
    CHECK_DONE(host.mount("c", {"-o", mode, "--volumes-from", "a"}), "");
    CHECK(content(host.in("c", "srv/f")) == "deep");
    const std::string shown = host.plyfs({"inspect", "c"}).out;
    CHECK(shown.find(host.data("web") + "/part") != std::string::npos);
    CHECK_DONE(host.plyfs({"umount", "c"}), "");
    CHECK_DONE(host.plyfs({"umount", "a"}), "");
  }
}

TEST_CASE("a subpath that changes while it is mounted leads nowhere else",
          "[store][volume][attack]") {
  if (!can_mount()) {
    return;
  }
  for (const std::string& mode : modes()) {
    INFO(mode);
    Host host({dir("srv")});
    make(host("secret"), {file("shadow", "host")});
    CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
    make(host.data("web"), {file("part/f", "mine"), symlink("other", host("secret"))});
    const std::string part = host.data("web") + "/part";
    const std::string other = host.data("web") + "/other";
    std::atomic<bool> stop = false;
    std::thread swapper{[&] {
      while (!stop) {
        (void)::renameat2(AT_FDCWD, part.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);
      }
    }};
    int escaped = 0;
    for (int i = 0; i < 20; ++i) {
      const Ran ran = host.mount("a", {"-o", mode, "-v", "web:/srv:subpath=part"});
      if (ran.exit_code == 0) {
        escaped += call::stat(host.in("a", "srv/shadow")) == "ok" ? 1 : 0;
        CHECK_DONE(host.plyfs({"umount", "a"}), "");
      }
    }
    stop = true;
    swapper.join();
    CHECK(escaped == 0);
  }
}

}  // namespace
}  // namespace plyfs::tests
