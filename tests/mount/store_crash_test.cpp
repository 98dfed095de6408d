// Commands on the store, and mounts that fill a volume, killed at each step.
#include <string>

#include "kill_step.h"
#include "skip.h"
#include "store_host.h"
#include "system.h"

namespace plyfs::tests {
namespace {

TEST_CASE("a volume create that is killed makes a whole volume or none", "[store][crash]") {
  Host host({});
  const unsigned kills =
      kill_at_every_change(host.command({"volume", "create", "web"}), [&](unsigned step) {
        INFO("killed at change " << step);
        const Ran listed = host.plyfs({"volume", "ls", "-q"});
        CHECK((said(listed) == "0 " || said(listed) == "0 web\n"));
        if (!listed.out.empty()) {
          CHECK(sorted_names(host("home/volumes/web")) == Picture{"_data", "volume.json"});
          CHECK(host.plyfs({"volume", "inspect", "web"}).exit_code == 0);
          CHECK_DONE(host.plyfs({"volume", "rm", "web"}), "web\n");
        }
        CHECK(names_in(host("home/volumes")).empty());
      });
  CHECK(kills > 5);
  CHECK_DONE(host.plyfs({"volume", "ls", "-q"}), "web\n");
}

TEST_CASE("a volume rm that is killed leaves the volume or none of it", "[store][crash]") {
  Host host({});
  const Items items = {file("a", "1"), file("d/b", "2")};
  const auto again = [&] {
    CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
    make(host.data("web"), items);
  };
  again();
  (void)kill_at_every_change(host.command({"volume", "rm", "web"}), [&](unsigned step) {
    INFO("killed at change " << step);
    const Ran listed = host.plyfs({"volume", "ls", "-q"});
    if (listed.out.empty()) {
      CHECK(names_in(host("home/volumes")).empty());
      again();
    }
    CHECK(picture(host.data("web")) == Picture{"a=1", "d/", "d/b=2"});
  });
  CHECK(names_in(host("home/volumes")).empty());
}

TEST_CASE("a mount that is killed while it fills leaves the volume empty or whole",
          "[store][volume][crash]") {
  if (!can_mount()) {
    return;
  }
  if (!is_root()) {
    return skip("needs root: a fusermount3 that is traced has no privileges");
  }
  Host host({file("srv/page", "1").with_xattr("user.x", "y"), hardlink("srv/d/same", "srv/page"),
             symlink("srv/l", "page"), fifo("srv/p")});
  const Dump whole = full_dump(host("image/srv"));
  const Picture names = picture(host("image/srv"));
  unsigned seen_empty = 0;
  unsigned seen_whole = 0;
  const Arguments mount = host.command(host.mount_command("a", {"-v", "web:/srv"}));
  const auto check = [&] {
    (void)host.plyfs({"umount", "--lazy", host.in("a", "")});  // if it was mounted already
    const Ran listed = host.plyfs({"volume", "ls", "-q"});
    CHECK((said(listed) == "0 " || said(listed) == "0 web\n"));
    if (listed.out.empty()) {
      return;
    }
    for (const std::string& name : names_in(host("home/volumes/web"))) {
      CHECK((name == "_data" || name == "volume.json" || name.ends_with(".lock")));
    }
    if (picture(host.data("web")).empty()) {
      ++seen_empty;
    } else {
      ++seen_whole;
      CHECK(picture(host.data("web")) == names);
      CHECK(difference(whole, full_dump(host.data("web"))).empty());
    }
    CHECK_DONE(host.plyfs({"volume", "rm", "-f", "web"}), "web\n");
  };
  const unsigned kills = kill_at_every_change(mount, [&](unsigned step) {
    INFO("killed at change " << step);
    check();
  });
  check();  // its daemon was killed when the command had ended
  CHECK(kills > 40);
  CHECK(seen_empty > 10);
  CHECK(seen_whole > 0);
  CHECK_DONE(host.mount("a", {"-v", "web:/srv"}), "");
  CHECK(picture(host.in("a", "srv")) == names);
}

}  // namespace
}  // namespace plyfs::tests
