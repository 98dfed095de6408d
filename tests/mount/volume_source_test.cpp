// Odd sources of volumes: links, directories of layers, filesystems without xattrs, parts of a
// volume.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <string>

#include "store_host.h"
#include "system.h"
#include "volumes.h"

namespace plyfs::tests {
namespace {

TEST_CASE("a source that is a symbolic link is what it leads to", "[volume][source]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("real/f", "1"), file("other/f", "2"), symlink("dir", "real"),
                              symlink("file", "dir/f"), symlink("dangling", "nowhere")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(host("dir"), "/v") + "," + volume(host("file"), "/file"));
    CHECK(joined({content(stack("v/f")), content(stack("file"))}) == "1 1");
    // The link is followed once, at the mount.
    CHECK(call::unlink(host("dir")) == "ok");
    CHECK(call::symlink("other", host("dir")) == "ok");
    CHECK(call::append(stack("v/f"), "+") == "ok");
    CHECK(joined({content(stack("file")), content(host("real/f")), content(host("other/f"))}) ==
          "1+ 1+ 2");
  });
}

TEST_CASE("a source may lie inside a layer; the layer's own view is read through the union",
          "[volume][source]") {
  on(volume_modes(), [](const System& system) {
    Stack stack = Stack{}.lower({file("shared/f", "1"), file("top", "t")}).upper();
    stack.build(system);
    stack.mount(system, volume(stack.lower_path(0, "shared"), "/v", "ro") + "," +
                            volume(stack.upper_path(), "/up"));
    CHECK(joined({content(stack("v/f")), content(stack("shared/f"))}) == "1 1");
    CHECK(call::append(stack("v/f"), "+") == "EROFS");
    // A change through the union goes to the upper, and there the volume shows it.
    CHECK(call::append(stack("shared/f"), "2") == "ok");
    CHECK(joined({content(stack("shared/f")), content(stack("v/f"))}) == "12 1");
    File written(stack("shared/f"), O_RDWR);
    CHECK(outcome(::fsync(written.fd())) == "ok");
    CHECK(content(stack("up/shared/f")) == "12");
    CHECK(call::rename(stack("up/shared/f"), stack("shared/g")) == "EXDEV");
  });
}

TEST_CASE("a volume may lie on a filesystem without xattrs", "[volume][source][root]") {
  if (!is_root()) {
    return skip("needs root: mounting ramfs");
  }
  on(volume_modes(), [](const System& system) {
    const HostDirectory host;
    REQUIRE(::mount("none", host().c_str(), "ramfs", 0, nullptr) == 0);
    const bool lacks = call::setxattr(host(), "user.x", "1") == "EOPNOTSUPP";
    {
      Stack stack = Stack{}.lower({dir("v")}).upper();
      stack.mount(system, volume(host(), "/v"));
      CHECK(joined({call::create(stack("v/f"), "1"), call::chmod(stack("v/f"), 0600),
                    call::symlink("f", stack("v/l")), call::mkdir(stack("v/d")),
                    call::rename(stack("v/l"), stack("v/d/l")), call::append(stack("v/f"), "2")}) ==
            "ok ok ok ok ok ok");
      CHECK(picture(host()) == Picture{"d/", "d/l->f", "f=12"});
      if (lacks) {
        CHECK(joined({call::setxattr(stack("v/f"), "user.x", "1"),
                      xattr(stack("v/f"), "user.x")}) == "EOPNOTSUPP <EOPNOTSUPP>");
      } else {
        skip("ramfs has xattrs on this kernel");
      }
      CHECK(xattr_names(stack("v/f")).empty());
    }
    CHECK(::umount2(host().c_str(), MNT_DETACH) == 0);
  });
}

TEST_CASE("a store on a filesystem without xattrs is filled without them",
          "[store][volume][root]") {
  if (!can_mount()) {
    return;
  }
  if (!is_root()) {
    return skip("needs root: mounting ramfs");
  }
  Host host({file("srv/page", "1").with_xattr("user.note", "x"), hardlink("srv/same", "srv/page")});
  make(host("home"), {});
  REQUIRE(::mount("none", host("home").c_str(), "ramfs", 0, nullptr) == 0);
  CHECK_DONE(host.mount("a", {"-v", "web:/srv"}), "");
  CHECK(picture(host.in("a", "srv")) == Picture{"page=1", "same=1"});
  CHECK(status(host.data("web") + "/page").st_nlink == 2);
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  CHECK(::umount2(host("home").c_str(), MNT_DETACH) == 0);
}

TEST_CASE("subpath is a directory inside the volume, and nothing outside of it",
          "[store][volume][source]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("srv/page", "image")});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make(host.data("web"),
       {file("sites/a/index", "a"), file("sites/b/index", "b"), symlink("inside", "sites/b"),
        symlink("outside", "/etc"), symlink("up", "../../..")});
  CHECK_DONE(host.mount("a", {"-v", "web:/srv:subpath=sites/a", "-v", "web:/all:ro", "-v",
                              "web:/b:subpath=inside"}),
             "");
  CHECK(joined({content(host.in("a", "srv/index")), content(host.in("a", "b/index"))}) == "a b");
  CHECK(call::append(host.in("a", "srv/index"), "+") == "ok");
  CHECK(content(host.in("a", "all/sites/a/index")) == "a+");
  CHECK(call::append(host.in("a", "all/sites/a/index"), "+") == "EROFS");
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  const auto refused = [&](const std::string& part) {
    const Ran ran = host.mount("b", {"-v", "web:/srv:subpath=" + part});
    CHECK(ran.err.starts_with("plyfs: cannot use the subpath of volume web: " + part + ": "));
    return ran.exit_code;
  };
  CHECK(refused("none") == 32);
  CHECK(refused("outside") == 32);
  CHECK(refused("up") == 32);
  CHECK(host.mount("b", {"-v", "web:/srv:subpath=../x"}).exit_code == 1);
  CHECK(host.mount("b", {"-v", "web:/srv:subpath=/etc"}).exit_code == 1);
  // Never filled, empty as it may be.
  CHECK(call::mkdir(host.data("web") + "/empty") == "ok");
  CHECK_DONE(host.mount("c", {"-v", "web:/srv:subpath=empty"}), "");
  CHECK(names_in(host.in("c", "srv")).empty());
  CHECK_DONE(host.plyfs({"umount", "c"}), "");
}

}  // namespace
}  // namespace plyfs::tests
