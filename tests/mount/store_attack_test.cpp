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

TEST_CASE("a subpath that became a link is not followed when the volume is taken over",
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

TEST_CASE("nobody else reaches what is in the store", "[store][volume][attack]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make(host.data("web"), {file("tool", "#!/bin/true")});
  REQUIRE(::chmod((host.data("web") + "/tool").c_str(), 04755) == 0);
  const std::vector<std::string> parts = {host("home"), host("home/volumes"), host("home/mounts"),
                                          host("home/volumes/web")};
  const auto shut = [&] {
    for (const std::string& part : parts) {
      INFO(part);
      CHECK(permissions(part) == 0700);
    }
    if (is_root()) {
      CHECK(as_user(65534, 65534, [&] { return call::stat(host.data("web") + "/tool"); }) ==
            "EACCES");
    }
  };
  shut();
  // As older versions left it.
  for (const std::string& part : parts) {
    REQUIRE(::chmod(part.c_str(), 0711) == 0);
  }
  CHECK_DONE(host.plyfs({"volume", "ls", "-q"}), "web\n");
  shut();
  // A home that holds other things, too, stays as its owner wants it.
  REQUIRE(::chmod(host("home").c_str(), 0755) == 0);
  CHECK_DONE(host.plyfs({"ls", "-q"}), "");
  CHECK(permissions(host("home")) == 0755);
}

TEST_CASE("root uses no store that somebody else can change", "[store][attack][root]") {
  if (!is_root()) {
    return skip("needs root: another user's store");
  }
  Host host({file("srv/page", "1")});
  const auto refused = [&](const std::string& why) {
    for (const Arguments& command :
         {Arguments{"volume", "ls"}, Arguments{"volume", "create", "web"}, Arguments{"ls"}}) {
      const Ran ran = host.plyfs(command);
      CHECK(ran.exit_code == 2);
      CHECK(ran.err.starts_with("plyfs: cannot use the volume store: " + host("home")));
      CHECK(ran.err.find("; " + host(why)) != std::string::npos);
    }
    CHECK(host.mount("a", {"-v", "web:/srv"}).exit_code == 2);
  };
  // Another's directory, a directory in another's, one that all may write to, a link of another's.
  make(host("home"), {});
  REQUIRE(::chown(host("home").c_str(), 65534, 65534) == 0);
  refused("home belongs to user 65534");
  CHECK(call::rename(host("home"), host("alice")) == "ok");
  make(host("alice/own"), {});
  CHECK(call::symlink("alice/own", host("home")) == "ok");
  refused("alice belongs to user 65534");
  REQUIRE(::chown(host("alice").c_str(), 0, 0) == 0);
  CHECK_DONE(host.plyfs({"volume", "ls", "-q"}), "");
  CHECK(call::chown(host("home"), 65534, 65534) == "ok");
  refused("home belongs to user 65534");
  CHECK(call::chown(host("home"), 0, 0) == "ok");
  REQUIRE(::chmod(host("alice/own").c_str(), 01777) == 0);
  refused("alice/own may be written by others");
  REQUIRE(::chmod(host("alice/own").c_str(), 0755) == 0);
  REQUIRE(::chmod(host("alice").c_str(), 0777) == 0);
  refused("alice may be written by others");
  REQUIRE(::chmod(host("alice").c_str(), 01777) == 0);
  CHECK_DONE(host.plyfs({"volume", "ls", "-q"}), "");
  REQUIRE(::chown(host("alice/own/volumes").c_str(), 65534, 65534) == 0);
  const Ran ran = host.plyfs({"volume", "ls"});
  CHECK(ran.exit_code == 2);
  CHECK(ran.err.find("own/volumes belongs to user 65534") != std::string::npos);
}

TEST_CASE("the content of a volume is no link", "[store][volume][attack]") {
  if (!can_mount()) {
    return;
  }
  for (const std::string& mode : modes()) {
    Host host({dir("srv")});
    make(host("secret"), {file("shadow", "host")});
    CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
    CHECK(call::rmdir(host.data("web")) == "ok");
    CHECK(call::symlink(host("secret"), host.data("web")) == "ok");
    const Ran ran = host.mount("a", {"-o", mode, "-v", "web:/srv"});
    CHECK(ran.exit_code == 32);
    CHECK(ran.err.starts_with("plyfs: cannot open volume: " + host.data("web") + ": "));
    CHECK(host.plyfs({"volume", "export", "web"}).exit_code == 2);
  }
}

TEST_CASE("--save writes files, and replaces nothing else", "[store][attack]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("page", "1")});
  REQUIRE(::mkfifo(host("fifo").c_str(), 0600) == 0);
  CHECK(call::symlink("fifo", host("link")) == "ok");
  CHECK(call::symlink("nothing", host("dangling")) == "ok");
  for (const char* name : {"fifo", "link", "dangling"}) {
    INFO(name);
    const Ran ran = host.mount("a", {"--save", host(name)});
    CHECK(ran.exit_code == 32);
    CHECK(ran.err.starts_with("plyfs: cannot save the configuration: " + host(name) + ": "));
  }
  CHECK(S_ISFIFO(status(host("fifo")).st_mode));
  CHECK(link_target(host("link")) == "fifo");
  CHECK(call::stat(host("nothing")) == "ENOENT");
  // A link to a file is followed; a file is replaced.
  CHECK(call::create(host("real.toml"), "old") == "ok");
  CHECK(call::symlink("real.toml", host("link.toml")) == "ok");
  CHECK_DONE(host.mount("a", {"--save", host("link.toml")}), "");
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  CHECK(link_target(host("link.toml")) == "real.toml");
  CHECK(content(host("real.toml")).starts_with("# plyfs mount --config FILE\n"));
}

TEST_CASE("what the store's lists print cannot steer a terminal", "[store][attack]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web", "--label",
                         "note=\x1b]0;x\x07\xc2\x9b"
                         "2J"}),
             "web\n");
  const std::string odd = "a\x1b[2J\r\xc2\x9b\xe2\x80\xae\x9b";
  CHECK(call::mkdir(host("home/volumes/" + odd)) == "ok");
  CHECK(call::mkdir(host("home/mounts/" + odd)) == "ok");
  CHECK(call::create(host("home/mounts/" + odd + "/record.json"),
                     R"({"name":"n\u001b[2J","mountpoint":"/m\u009b\r","pid":1,"started":"",
                         "lowers":[],"upper":"","work":"","volumes":[],"volumes_from":[]})") ==
        "ok");
  for (const Arguments& command :
       {Arguments{"volume", "ls"}, Arguments{"volume", "ls", "-q"},
        Arguments{"volume", "ls", "--json"}, Arguments{"volume", "inspect", "web"},
        Arguments{"volume", "rm", odd}, Arguments{"volume", "inspect", odd}, Arguments{"rm", odd},
        Arguments{"ls"}, Arguments{"ls", "-q"}, Arguments{"ls", "--json"}, Arguments{"umount", odd},
        Arguments{"inspect", odd}, Arguments{"mount", "--lower", odd, odd},
        Arguments{"mount", "--lower", host("image"), "--name", odd, odd},
        Arguments{"volume", "export", odd, "-o", odd}, Arguments{"diff", odd},
        Arguments{"stats", odd}, Arguments{"commit", odd, odd}}) {
    const Ran ran = host.plyfs(command);
    INFO(command[0] + " " + (command.size() > 1 ? command[1] : ""));
    const std::string all = ran.out + ran.err;
    CHECK(all.find_first_of("\x1b\r\x07") == std::string::npos);
    CHECK(all.find("\xc2\x9b") == std::string::npos);
    CHECK(all.find("\xe2\x80\xae") == std::string::npos);
  }
}

/// A tar of one object at a path of `depth` components, without the directories above it.
void write_deep_tar(const std::string& path, int depth) {
  const Ran ran = run({"python3", "-c", R"(
import sys, tarfile
with tarfile.open(sys.argv[1], 'w:gz', format=tarfile.PAX_FORMAT) as t:
    t.addfile(tarfile.TarInfo('d/' * (int(sys.argv[2]) - 1) + 'f'))
)",
                       path, std::to_string(depth)});
  REQUIRE(ran.exit_code == 0);
}

TEST_CASE("an archive yields no more than is allowed, in size and depth",
          "[store][transfer][attack]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  const auto refused = [&](const Arguments& more, const std::string& why) {
    Arguments all{"volume", "import", "web"};
    all.insert(all.end(), more.begin(), more.end());
    const Ran ran = host.plyfs(all);
    CHECK(ran.exit_code == 2);
    CHECK(ran.err.find(why) != std::string::npos);
    CHECK(names_in(host.data("web")).empty());
    CHECK(sorted_names(host("home/volumes/web")) ==
          std::vector<std::string>{"_data", "fill.lock", "use.lock", "volume.json"});
  };
  write_deep_tar(host("deep.tar.gz"), 6000);
  refused({"-i", host("deep.tar.gz")}, "it lies deeper than is allowed");
  // Both the way there and the way back.
  write_deep_tar(host("d500.tar.gz"), 500);
  refused({"-i", host("d500.tar.gz"), "--max-depth", "499"}, "it lies deeper than is allowed");
  REQUIRE(run({"sh", "-c", "head -c 64M /dev/zero > \"$1\" && tar -czf \"$2\" -C \"${1%/*}\" zeros",
               "sh", host("zeros"), host("bomb.tar.gz")})
              .exit_code == 0);
  refused({"-i", host("bomb.tar.gz"), "--max-size", "1000000"}, "File too large");
  CHECK_DONE(host.plyfs({"volume", "import", "web", "-i", host("d500.tar.gz")}), "");
}

TEST_CASE("a volume of any depth is exported and removed", "[store][transfer][attack]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  REQUIRE(run({"python3", "-c", R"(
import os, sys
os.chdir(sys.argv[1])
for i in range(3000):
    os.mkdir('d'); os.chdir('d')
open('f', 'w').write('deep')
)",
               host.data("web")})
              .exit_code == 0);
  CHECK_DONE(host.plyfs({"volume", "export", "web", "-o", host("web.tar.gz")}), "");
  CHECK(run({"sh", "-c", "tar -tzf \"$1\" | wc -l", "sh", host("web.tar.gz")}).out == "3002\n");
  CHECK_DONE(host.plyfs({"volume", "rm", "web"}), "web\n");
  CHECK(run({"ls", "-A", host("home/volumes")}).out.empty());
}

TEST_CASE("directories without owner-write are removed with their volume", "[store][attack]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  CHECK_DONE(host.plyfs({"volume", "create"}).exit_code == 0 ? done("") : done("?"), "");
  make(host.data("web"), {file("a/b/c/f", "1"), file("a/f", "2"), file("closed/f", "3")});
  for (const char* name : {"/a/b/c", "/a/b", "/a", ""}) {
    REQUIRE(::chmod((host.data("web") + name).c_str(), 0555) == 0);
  }
  REQUIRE(::chmod((host.data("web") + "/closed").c_str(), 0) == 0);
  REQUIRE(::chmod((host.data("web") + "/closed").c_str(), 0444) == 0);
  CHECK(host.plyfs({"volume", "export", "web", "-o", host("web.tar")}).exit_code ==
        (is_root() ? 0 : 2));
  REQUIRE(::chmod((host.data("web") + "/closed").c_str(), 0555) == 0);
  CHECK_DONE(host.plyfs({"volume", "export", "web", "-o", host("web.tar")}), "");
  for (int i = 0; i < 2; ++i) {
    CHECK_DONE(host.plyfs({"volume", "import", "--force", "web", "-i", host("web.tar")}), "");
    CHECK(sorted_names(host("home/volumes/web")) ==
          std::vector<std::string>{"_data", "fill.lock", "use.lock", "volume.json"});
  }
  REQUIRE(::chmod((host.data("web") + "/closed").c_str(), 0444) == 0);
  CHECK_DONE(host.plyfs({"volume", "rm", "web"}), "web\n");
  CHECK(host.plyfs({"volume", "prune", "-f"}).exit_code == 0);
  CHECK(run({"ls", "-A", host("home/volumes")}).out.empty());
}

TEST_CASE("a mount that fails leaves no anonymous volume", "[store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({dir("srv")});
  CHECK(host.mount("a", {"-v", "/tmp", "-v", "web:/srv:subpath=none"}).exit_code == 32);
  CHECK(host.mount("a", {"-v", "/tmp", "--lower", host("nowhere")}).exit_code != 0);
  CHECK_DONE(host.plyfs({"volume", "ls", "-q"}), "web\n");
  // One that was there before stays.
  CHECK_DONE(host.mount("a", {"-v", "/tmp"}), "");
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  const std::string before = host.plyfs({"volume", "ls", "-q"}).out;
  CHECK(host.mount("a", {"-v", "/tmp", "-v", "web:/srv:subpath=none"}).exit_code == 32);
  CHECK(host.plyfs({"volume", "ls", "-q"}).out == before);
}

TEST_CASE("a configuration with a key of many dots is refused", "[store][attack]") {
  Host host({});
  const std::string deep = "a" + [] {
    std::string dots;
    for (int i = 0; i < 100000; ++i) {
      dots += ".a";
    }
    return dots;
  }();
  for (const std::string& text :
       {deep + " = 1\n", "[" + deep + "]\n", "x = [ \"\"\"\n\"\"\", {" + deep + " = 1} ]\n"}) {
    CHECK((call::unlink(host("c.toml")), call::create(host("c.toml"), "\n" + text)) == "ok");
    const Ran ran = host.plyfs({"mount", "--config", host("c.toml")});
    CHECK(ran.exit_code == 1);
    CHECK(ran.err.starts_with("plyfs: bad configuration: " + host("c.toml") + ":"));
  }
}

}  // namespace
}  // namespace plyfs::tests
