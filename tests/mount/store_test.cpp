// The volume store, named mounts, and filling: by the commands that users type.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "catch.h"
#include "process.h"
#include "store_host.h"

namespace plyfs::tests {
namespace {

TEST_CASE("an empty volume is filled from the image, whole and once", "[store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("srv/page", "image"), hardlink("srv/deep/same", "srv/page"),
             symlink("srv/link", "page"), dir("srv/empty"), file("other", "1"),
             symlink("way", "/srv")});
  REQUIRE(::truncate(host("image/srv/page").c_str(), 1 << 20) == 0);
  REQUIRE(::chmod(host("image/srv/page").c_str(), 04750) == 0);
  REQUIRE(::chmod(host("image/srv/empty").c_str(), 01770) == 0);
  CHECK_DONE(host.mount("a", {"-v", "web:/way", "-v", "raw:/srv/empty:nocopy"}), "");
  // The link on the way led to /srv, where the volume lies now.
  CHECK(picture(host.data("web")) == picture(host("image/srv")));
  const struct stat page = status(host.data("web") + "/page");
  CHECK(page.st_ino == status(host.data("web") + "/deep/same").st_ino);
  CHECK((page.st_mode & 07777) == 04750);
  CHECK(page.st_blocks < 100);  // the hole
  CHECK((status(host.data("web") + "/empty").st_mode & 07777) == 01770);
  CHECK(difference(full_dump(host("image/srv")), full_dump(host.data("web"))).empty());
  CHECK(status(host.data("web")).st_mtime == kOldTime.tv_sec);
  CHECK(picture(host.data("raw")).empty());
  // What the user takes away stays away, and what the user has put there is not touched.
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  CHECK(call::unlink(host.data("web") + "/link") == "ok");
  CHECK_DONE(host.mount("b", {"-v", "web:/srv"}), "");
  CHECK(call::stat(host.in("b", "srv/link")) == "ENOENT");
  CHECK(content(host.in("b", "other")) == "1");
}

TEST_CASE("mounts that start at once fill a volume once", "[store][volume]") {
  if (!can_mount()) {
    return;
  }
  Items image;
  for (int i = 0; i < 100; ++i) {
    image.push_back(file("srv/" + std::to_string(i), std::string(1000, 'x')));
  }
  Host host(image);
  std::vector<pid_t> started;
  for (const char* name : {"a", "b", "c", "d"}) {
    started.push_back(start(host.command(host.mount_command(name, {"-v", "web:/srv"}))));
  }
  for (const pid_t pid : started) {
    CHECK(wait_for(pid, 60) == 0);
  }
  for (const char* name : {"a", "b", "c", "d"}) {
    CHECK(picture(host.in(name, "srv")) == picture(host("image/srv")));
  }
  // All of them show one directory.
  CHECK(write_new(host.in("a", "srv/new"), "1") == "ok");
  CHECK(content(host.in("d", "srv/new")) == "1");
  CHECK(sorted_names(host("home/volumes/web")) ==
        std::vector<std::string>{"_data", "fill.lock", "use.lock", "volume.json"});
  for (const char* name : {"a", "b", "c", "d"}) {
    CHECK_DONE(host.plyfs({"umount", name}), "");
  }
}

TEST_CASE("a volume in use is not removed, and never by itself", "[store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("srv/page", "1")});
  CHECK_DONE(host.plyfs({"volume", "create", "web", "--label", "tier=front"}), "web\n");
  CHECK_DONE(host.mount("a", {"-v", "web:/srv", "-v", "/tmp"}), "");
  CHECK(said(host.plyfs({"volume", "rm", "-f", "web"})) ==
        "2 plyfs: cannot remove volume: web: Device or resource busy; it is in use by a at " +
            host.in("a", "").substr(0, host.in("a", "").size() - 1) + ": unmount that first\n");
  CHECK_DONE(host.plyfs({"volume", "prune", "-f"}), "Total reclaimed space: 0B\n");
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  CHECK(said(host.plyfs({"volume", "rm", "web"})) ==
        "2 plyfs: cannot remove volume: web: Device or resource busy; the mount a, not mounted "
        "now, uses it: 'plyfs rm a' first, or use -f\n");
  CHECK_DONE(host.plyfs({"volume", "ls", "--filter", "label=tier=front"}),
             "DRIVER    VOLUME NAME\nlocal     web\n");
  // The mount comes back to its anonymous volume; rm -v takes that along, and no other.
  const std::string anonymous = host.plyfs({"volume", "ls", "-q", "--filter", "anonymous=1"}).out;
  CHECK(anonymous.size() == 65);
  CHECK_DONE(host.mount("a", {"-v", "web:/srv", "-v", "/tmp"}), "");
  CHECK(host.plyfs({"volume", "ls", "-q", "--filter", "anonymous=1"}).out == anonymous);
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  CHECK_DONE(host.plyfs({"rm", "-v", "a"}), "a\n");
  CHECK_DONE(host.plyfs({"volume", "ls", "-q"}), "web\n");
  CHECK_DONE(host.plyfs({"volume", "prune", "-f"}), "Total reclaimed space: 0B\n");
  CHECK(content(host.data("web") + "/page") == "1");
  CHECK_DONE(host.plyfs({"volume", "prune", "-f", "--all"}),
             "Deleted Volumes:\nweb\n\nTotal reclaimed space: 1B\n");
  CHECK(names_in(host("home/volumes")).empty());
}

TEST_CASE("a mount that died keeps neither its name nor its volumes", "[store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("srv/page", "1")});
  const pid_t daemon = start(host.command([&] {
    Arguments all = host.mount_command("a", {"-v", "web:/srv", "-f"});
    return all;
  }()));
  while (run({"mountpoint", "-q", host.in("a", "")}).exit_code != 0) {
    REQUIRE(::waitpid(daemon, nullptr, WNOHANG) == 0);
  }
  CHECK(::kill(daemon, SIGKILL) == 0);
  CHECK(wait_for(daemon, 30) == 128 + SIGKILL);
  CHECK(host.plyfs({"ls"}).out.find("unmounted") != std::string::npos);
  CHECK_DONE(host.plyfs({"volume", "rm", "-f", "web"}), "web\n");
  CHECK_DONE(host.plyfs({"umount", "--lazy", host.in("a", "")}), "");
  CHECK_DONE(host.mount("a", {"-v", "web:/srv"}), "");
  CHECK(content(host.in("a", "srv/page")) == "1");
}

TEST_CASE("volumes are taken over from named mounts, also in turn", "[store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("srv/page", "1")});
  make(host("own"), {file("f", "own")});
  CHECK_DONE(host.mount("a", {"-v", "web:/srv", "-v", host("own") + ":/own"}), "");
  CHECK_DONE(host.mount("b", {"--volumes-from", "a", "-v", "logs:/log"}), "");
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  CHECK_DONE(host.mount("c", {"--volumes-from", "b:ro"}), "");
  CHECK(write_new(host.in("b", "srv/new"), "2") == "ok");
  CHECK(content(host.in("c", "srv/new")) == "2");
  CHECK(content(host.in("c", "own/f")) == "own");
  CHECK(write_new(host.in("c", "log/x"), "") == "EROFS");
  CHECK(said(host.mount("a", {"--volumes-from", "c"})) ==
        "32 plyfs: cannot take over volumes: c: Too many levels of symbolic links; its own volumes "
        "come from a: name another mount\n");
  CHECK_DONE(host.plyfs({"rm", "a"}), "a\n");
  CHECK(content(host.in("c", "srv/page")) == "1");
  CHECK(said(host.mount("d", {"--volumes-from", "a"})) ==
        "32 plyfs: cannot take over volumes: a: No such file or directory; 'plyfs ls' shows the "
        "mounts that have a name\n");
  CHECK_DONE(host.plyfs({"ls", "-q"}), "b\nc\n");
  const Ran inspected = host.plyfs({"inspect", host.in("c", "")});
  CHECK(inspected.exit_code == 0);
  CHECK(inspected.out.find("\"RW\": false") != std::string::npos);
  CHECK(inspected.out.find("\"Propagation\": \"rprivate\"") != std::string::npos);
  for (const char* name : {"b", "c"}) {
    CHECK_DONE(host.plyfs({"umount", name}), "");
  }
}

TEST_CASE("store commands in parallel agree", "[store]") {
  Host host({});
  std::vector<pid_t> started;
  for (int i = 0; i < 30; ++i) {
    const std::string name = "v" + std::to_string(i % 3);
    started.push_back(start(host.command(i % 2 == 0 ? Arguments{"volume", "create", name}
                                                    : Arguments{"volume", "rm", "-f", name})));
  }
  for (const pid_t pid : started) {
    CHECK(wait_for(pid, 60) == 0);
  }
  for (const std::string& name : names_in(host("home/volumes"))) {
    CHECK(sorted_names(host("home/volumes/" + name)) ==
          std::vector<std::string>{"_data", "volume.json"});
  }
}

TEST_CASE("what a command that was killed left is cleared by the next one", "[store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make(host("home/volumes/.new-1"), {dir("_data")});
  make(host("home/volumes/.trash-1"), {file("_data/d/f", "1")});
  REQUIRE(::chmod(host("home/volumes/.trash-1/_data/d").c_str(), 0) == 0);
  CHECK_DONE(host.plyfs({"volume", "ls", "-q"}), "web\n");
  CHECK(names_in(host("home/volumes")) == std::vector<std::string>{"web"});
}

TEST_CASE("bad names and missing things are refused", "[store]") {
  Host host({});
  const auto refused = [&](const Arguments& arguments, int exit_code) {
    const Ran ran = host.plyfs(arguments);
    CHECK(ran.exit_code == exit_code);
    CHECK(ran.err.starts_with("plyfs: "));
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
  };
  refused({"volume", "create", "../x"}, 1);
  refused({"volume", "create", ".x"}, 1);
  refused({"volume", "create", "web", "--label", "=x"}, 1);
  refused({"volume", "rm", "../volumes"}, 2);
  refused({"volume", "inspect", ".."}, 2);
  refused({"volume", "ls", "--filter", "size=1"}, 1);
  refused({"volume", "eat"}, 1);
  refused({"rm", "none"}, 2);
  refused({"inspect", "none"}, 2);
  CHECK_DONE(host.plyfs({"volume", "rm", "-f", "none"}), "none\n");
  CHECK_DONE(host.plyfs({"ls"}), "NAME            STATUS     MOUNTPOINT\n");
}

}  // namespace
}  // namespace plyfs::tests
