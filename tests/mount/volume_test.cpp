// Volumes in the mount: what they hide, where they appear, what they refuse, who owns what is made.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <set>
#include <thread>

#include "attributes.h"
#include "volumes.h"

namespace plyfs::tests {
namespace {

TEST_CASE("a volume hides what the layers have and goes past them", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("one", "1"), file("d/x", "2"), symlink("l", "one")});
    Stack stack = Stack{}.lower({file("data/hidden", "h"), file("beside", "b")}).upper();
    stack.mount(system, volume(host(), "/data"));
    CHECK(picture(stack("data")) == Picture{"d/", "d/x=2", "l->one", "one=1"});
    CHECK(joined({call::append(stack("data/one"), "+"), call::create(stack("data/new"), "n"),
                  call::mkdir(stack("data/made")), call::rename(stack("data/d/x"), stack("data/y")),
                  call::unlink(stack("data/l")), call::link(stack("data/y"), stack("data/z")),
                  call::symlink("y", stack("data/s"))}) == "ok ok ok ok ok ok ok");
    const Picture expected = {"d/", "made/", "new=n", "one=1+", "s->y", "y=2", "z=2"};
    CHECK(picture(stack("data")) == expected);
    CHECK(picture(host()) == expected);
    CHECK(status(stack("data/y")).st_ino == status(stack("data/z")).st_ino);
    CHECK(status(stack("data/y")).st_nlink == 2);
    CHECK(call::append(stack("beside"), "+") == "ok");
    CHECK(stack.upper_picture() == Picture{"beside=b+"});
    stack.remount();
    CHECK(picture(stack("data")) == expected);
  });
}

TEST_CASE("a mount point appears where no layer has one, and in no layer", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("f", "1")});
    Stack stack = Stack{}
                      .lower({dir("opaque"), whiteout("gone"), file("plain", "p")})
                      .lower({file("gone/old"), file("opaque/old")})
                      .upper({opaque("opaque")});
    stack.mount(system, volume(host(), "/a/b/c") + "," + volume(host(), "/gone/deep") + "," +
                            volume(host(), "/opaque/v") + "," + volume(host("f"), "/new-file") +
                            "," + volume(host("f"), "/plain"));
    CHECK(sorted_names_in(stack()) ==
          std::vector<std::string>{"a", "gone", "new-file", "opaque", "plain"});
    CHECK(sorted_names_in(stack("a")) == std::vector<std::string>{"b"});
    CHECK(picture(stack("a/b/c")) == Picture{"f=1"});
    CHECK(picture(stack("gone")) == Picture{"deep/", "deep/f=1"});
    CHECK(picture(stack("opaque")) == Picture{"v/", "v/f=1"});
    CHECK(joined({content(stack("new-file")), content(stack("plain"))}) == "1 1");
    CHECK(call::append(stack("plain"), "+") == "ok");
    CHECK(content(host("f")) == "1+");
    CHECK(stack.upper_picture() == Picture{"opaque/ (opaque)"});
    stack.unmount();
    CHECK(stack.upper_picture() == Picture{"opaque/ (opaque)"});
  });
}

TEST_CASE("readdir shows mount points with the type and number that stat shows", "[volume]") {
  on(served_volumes(), [](const System& system) {
    const HostDirectory host({file("f", "1"), dir("n")});
    Stack stack = Stack{}.lower({file("v", "a file"), dir("w"), file("x", "y")}).upper();
    stack.mount(system, volume(host(), "/v") + "," + volume(host("f"), "/w") + "," +
                            volume(host(), "/new") + "," + volume(host("n"), "/new/f"));
    CHECK(listed_unlike_stat(stack()) == std::vector<std::string>{});
    CHECK(listed_unlike_stat(stack("new")) == std::vector<std::string>{});
    CHECK(sorted_names_in(stack()) == std::vector<std::string>{"new", "v", "w", "x"});
    CHECK(sorted_names_in(stack("new")) == std::vector<std::string>{"f", "n"});
    CHECK(S_ISDIR(status(stack("v")).st_mode));
    CHECK(S_ISREG(status(stack("w")).st_mode));
    CHECK(S_ISDIR(status(stack("new/f")).st_mode));
  });
}

TEST_CASE("a link on the way to a mount point is followed inside the root only", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("f", "1")});
    const HostDirectory outside({dir("escape")});
    Stack stack = Stack{}
                      .lower({dir("real"), symlink("rel", "real"), symlink("abs", outside()),
                              symlink("up", "../../../real"), symlink("dangling", "made/here")})
                      .upper();
    stack.mount(system, volume(host(), "/rel/a") + "," + volume(host(), "/abs/b") + "," +
                            volume(host(), "/up/c") + "," + volume(host(), "/dangling"));
    CHECK(content(stack("real/a/f")) == "1");
    CHECK(content(stack("real/c/f")) == "1");
    CHECK(content(stack("made/here/f")) == "1");
    CHECK(content(stack(outside() + "/b/f")) == "1");
    CHECK(picture(outside()) == Picture{"escape/"});
    CHECK(link_target(stack("rel")) == "real");
  });
}

TEST_CASE("links inside a volume resolve in the merged tree", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({symlink("up", "../beside"), symlink("loop", "loop"), dir("d"),
                              symlink("d/u", "../../beside")});
    Stack stack = Stack{}.lower({file("beside", "b"), dir("v")}).upper();
    stack.mount(system, volume(host(), "/v"));
    CHECK(joined({content(stack("v/up")), content(stack("v/d/u")), content(stack("v/../beside")),
                  content(stack("v/loop"))}) == "b b b <ELOOP>");
  });
}

TEST_CASE("volumes nest, lie over files and side by side", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory outer({file("o", "1"), dir("in"), file("file", "f")});
    const HostDirectory inner({file("i", "2")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    // Given inner first: the order of the options does not matter.
    stack.mount(system, volume(inner(), "/v/in") + "," + volume(outer(), "/v") + "," +
                            volume(inner("i"), "/v/file") + "," + volume(inner(), "/w"));
    CHECK(picture(stack()) ==
          Picture{"v/", "v/file=2", "v/in/", "v/in/i=2", "v/o=1", "w/", "w/i=2"});
    CHECK(call::append(stack("w/i"), "+") == "ok");
    CHECK(joined({content(stack("v/in/i")), content(stack("v/file")), content(inner("i"))}) ==
          "2+ 2+ 2+");
    CHECK(
        joined({call::rename(stack("v/o"), stack("v/in/o")), call::link(stack("v/o"), stack("w/o")),
                call::rename(stack("v/in/i"), stack("w/j"))}) == "EXDEV EXDEV EXDEV");
  });
}

TEST_CASE("rename and link across the edge are EXDEV, mount points EBUSY", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("f", "1"), dir("d")});
    Stack stack = Stack{}.lower({dir("a/v"), file("g", "2"), file("file", "x"), dir("e")}).upper();
    stack.mount(system, volume(host(), "/a/v") + "," + volume(host("f"), "/file") + "," +
                            volume(host(), "/m/n"));
    CHECK(joined({call::rename(stack("a/v/f"), stack("g2")),
                  call::rename(stack("g"), stack("a/v/g")), call::link(stack("a/v/f"), stack("g2")),
                  call::link(stack("g"), stack("a/v/g")), call::rename(stack("a/v/f"), stack("g")),
                  call::rename(stack("a/v/d"), stack("e"))}) ==
          "EXDEV EXDEV EXDEV EXDEV EXDEV EXDEV");
    CHECK(joined({call::rmdir(stack("a/v")), call::rename(stack("a/v"), stack("b")),
                  call::rename(stack("a/v"), stack("a/w")), call::rename(stack("e"), stack("a/v")),
                  call::unlink(stack("file")), call::rename(stack("file"), stack("file2")),
                  call::rename(stack("g"), stack("file")), call::rmdir(stack("m/n")),
                  call::rename(stack("a"), stack("b")), call::rename(stack("m"), stack("b"))}) ==
          "EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY EBUSY");
    CHECK(joined({call::rmdir(stack("a")), call::rmdir(stack("m")), call::mkdir(stack("a/v")),
                  call::create(stack("file")), call::symlink("x", stack("m/n"))}) ==
          "ENOTEMPTY ENOTEMPTY EEXIST EEXIST EEXIST");
    CHECK(picture(host()) == Picture{"d/", "f=1"});
    CHECK(stack.upper_picture() == Picture{});
  });
}

std::string refused(const Stack& stack, const std::string& name) {
  const auto at = [&](const std::string& path) { return stack(name + path); };
  std::set<std::string> answers;
  const auto note = [&](const std::string& what, const std::string& outcome) {
    if (outcome != "EROFS") {
      answers.insert(what + ":" + outcome);
    }
  };
  note("create", call::open(at("/new"), O_RDWR | O_CREAT));
  note("tmpfile", call::open(at(""), O_TMPFILE | O_RDWR));
  note("open-trunc", call::open(at("/f"), O_RDWR | O_TRUNC));
  note("open-create-trunc", call::open(at("/f"), O_RDWR | O_CREAT | O_TRUNC));
  note("append", call::append(at("/f"), "x"));
  note("overwrite", call::overwrite(at("/f"), "x"));
  note("truncate", call::truncate(at("/f"), 0));
  note("unlink", call::unlink(at("/f")));
  note("rmdir", call::rmdir(at("/e")));
  note("mkdir", call::mkdir(at("/new")));
  note("symlink", call::symlink("x", at("/new")));
  note("link", call::link(at("/f"), at("/new")));
  note("mknod", call::mknod(at("/new"), S_IFIFO | 0600));
  note("rename", call::rename(at("/f"), at("/g")));
  note("rename-dir", call::rename(at("/e"), at("/new")));
  note("exchange", call::rename(at("/f"), at("/e"), 2));
  note("chmod", call::chmod(at("/f"), 0600));
  note("chmod-root", call::chmod(at(""), 0700));
  note("chown", call::chown(at("/f"), ::getuid(), ::getgid()));
  note("chown-link", call::chown(at("/l"), ::getuid(), ::getgid()));
  note("utimens", call::utimens(at("/f"), {1, 1}, {1, 1}));
  note("setxattr", call::setxattr(at("/f"), "user.k", "v"));
  note("setxattr-dir", call::setxattr(at("/e"), "user.k", "v"));
  note("removexattr", call::removexattr(at("/f"), "user.old"));
  note("acl", call::setxattr(at("/f"), kAccessAcl, acl_for_user(6, 1, 4, 4, 4, 4)));
  const File open(at("/f"), O_RDONLY);
  note("fchmod", outcome(::fchmod(open.fd(), 0600)));
  const timespec times[2] = {{1, 1}, {1, 1}};
  note("futimens", outcome(::futimens(open.fd(), times)));
  note("fchown", outcome(::fchown(open.fd(), ::getuid(), ::getgid())));
  const File writer(at("/f"), O_WRONLY);
  if (writer.fd() >= 0) {
    note("fallocate", outcome(::fallocate(writer.fd(), 0, 0, 4096)));
    note("ftruncate", outcome(::ftruncate(writer.fd(), 0)));
    File(at("/f"), O_WRONLY).pwrite("x", 0);
    note("pwrite", File(at("/f"), O_WRONLY).pwrite("x", 0));
  }
  std::string all;
  for (const std::string& answer : answers) {
    all += answer + " ";
  }
  return all;
}

TEST_CASE("a read-only volume refuses every change with EROFS", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("f", "1").with_xattr("user.old", "v"), dir("e"),
                              symlink("l", "f"), file("d/x", "2")});
    const Dump before = full_dump(host());
    Stack stack = Stack{}.lower({file("g", "2")}).upper();
    stack.mount(system, volume(host(), "/v", "ro") + "," + volume(host("f"), "/file", "ro"));
    CHECK(refused(stack, "v") == "");
    CHECK(joined({call::append(stack("file"), "x"), call::chmod(stack("file"), 0600),
                  call::truncate(stack("file"), 0), content(stack("file"))}) ==
          "EROFS EROFS EROFS 1");
    CHECK(call::append(stack("g"), "+") == "ok");
    CHECK(picture(stack("v")) == Picture{"d/", "d/x=2", "e/", "f=1", "l->f"});
    CHECK(difference(before, full_dump(host())).empty());
  });
}

TEST_CASE("a volume may be written in a mount without an upper", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("f", "1")});
    Stack stack = Stack{}.lower({file("g", "2"), dir("v")});
    stack.mount(system, volume(host(), "/v"));
    CHECK(joined({call::append(stack("v/f"), "+"), call::create(stack("v/n"), "n"),
                  call::create(stack("x")), call::unlink(stack("g")),
                  call::append(stack("g"), "+")}) == "ok ok EROFS EROFS EROFS");
    CHECK(picture(host()) == Picture{"f=1+", "n=n"});
  });
}

TEST_CASE("numbers are unique over union and volumes", "[volume]") {
  on(served_volumes(), [](const System& system) {
    const HostDirectory host({file("f", "1"), dir("d"), file("d/x", "2")});
    Stack stack = Stack{}.lower({file("g", "2"), dir("v"), dir("w/d")}).upper();
    // One source twice, and one that is a layer.
    stack.mount(system, volume(host(), "/v") + "," + volume(host(), "/v2") + "," +
                            volume(stack.directory() + "/l0", "/layer"));
    std::set<ino_t> numbers;
    const std::vector<std::string> names = {"",          "g",     "v",       "w",
                                            "w/d",       "layer", "layer/g", "layer/w",
                                            "layer/w/d", "v/f",   "v/d",     "v/d/x"};
    for (const std::string& name : names) {
      numbers.insert(status(stack(name)).st_ino);
      CHECK(status(stack(name)).st_dev == status(stack()).st_dev);
    }
    CHECK(numbers.size() == names.size());
    CHECK(status(stack("v/f")).st_ino == status(stack("v2/f")).st_ino);  // one object, as with bind
  });
}

TEST_CASE("statfs in a volume is that of its filesystem", "[volume][root]") {
  on(volume_modes(), [](const System& system) {
    struct statvfs union_fs {
    }, volume_fs{}, host_fs{};
    const HostDirectory host({file("f", "1")});
    Stack stack = Stack{}.lower({file("g", "2")}).upper();
    stack.mount(system, volume("/proc/self/fdinfo/..", "/p") + "," + volume(host(), "/v"));
    CHECK(outcome(::statvfs(stack("p").c_str(), &volume_fs)) == "ok");
    CHECK(outcome(::statvfs(stack("v/f").c_str(), &union_fs)) == "ok");
    CHECK(outcome(::statvfs(host("f").c_str(), &host_fs)) == "ok");
    CHECK(volume_fs.f_blocks == 0);  // proc has none
    CHECK(union_fs.f_blocks == host_fs.f_blocks);
  });
}

TEST_CASE("what is made in a volume belongs to its maker", "[volume][root]") {
  on(volume_modes(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: other users");
    }
    const HostDirectory host({dir("open").with_mode(0777),
                              dir("group").with_mode(02777).with_owner(0, 77),
                              file("suid", "s").with_mode(04777)});
    Stack stack = Stack{}.lower({file("g")}).upper();
    stack.mount(system, volume(host(), "/v"));
    const std::string answers = as_user(1234, 4321, [&] {
      ::umask(027);
      return joined({call::create(stack("v/open/f"), "x", 0666),
                     call::mkdir(stack("v/open/d"), 0777), call::symlink("t", stack("v/open/l")),
                     call::mknod(stack("v/open/p"), S_IFIFO | 0666),
                     call::create(stack("v/group/f"), "x", 0666),
                     call::append(stack("v/suid"), "+"), call::create(stack("v/no"))});
    });
    CHECK(answers == "ok ok ok ok ok ok EACCES");
    for (const char* name : {"open/f", "open/d", "open/l", "open/p"}) {
      CHECK(status(host(name)).st_uid == 1234);
      CHECK(status(host(name)).st_gid == 4321);
    }
    CHECK(permissions(host("open/f")) == 0640);
    CHECK(permissions(host("open/d")) == 0750);
    CHECK(status(host("group/f")).st_gid == 77);
    CHECK(permissions(host("suid")) == 0777);
  });
}

TEST_CASE("a file without a name stays usable in a volume", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("f", "1"), file("g", "2"), file("h", "3")});
    Stack stack = Stack{}.lower({file("x")}).upper();
    stack.mount(system, volume(host(), "/v"));
    File f(stack("v/f"), O_RDWR);
    File g(stack("v/g"), O_RDWR);
    CHECK(joined({call::unlink(stack("v/f")), call::rename(stack("v/h"), stack("v/g"))}) ==
          "ok ok");
    if (is_root()) {
      drop_caches();
    }
    CHECK(joined({f.pwrite("more", 1), g.pwrite("else", 1), f.read_all(), g.read_all()}) ==
          "ok ok 1more 2else");
    CHECK(f.stat().st_nlink == 0);
    CHECK(content(stack("v/g")) == "3");
    File unnamed(stack("v"), O_TMPFILE | O_RDWR);
    REQUIRE(unnamed.opened() == "ok");
    CHECK(unnamed.write("tmp") == "ok");
    CHECK(outcome(::linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(unnamed.fd())).c_str(),
                           AT_FDCWD, stack("v/linked").c_str(), AT_SYMLINK_FOLLOW)) == "ok");
    CHECK(picture(host()) == Picture{"g=3", "linked=tmp"});
  });
}

/// Whether the daemon holds something that has no name any more.
bool holds_deleted(pid_t daemon) {
  const std::string fds = "/proc/" + std::to_string(daemon) + "/fd";
  for (const std::string& fd : names_in(fds)) {
    if (link_target(fds + "/" + fd).ends_with(" (deleted)")) {
      return true;
    }
  }
  return false;
}

TEST_CASE("what the host deletes from a volume is let go, unless it is open", "[volume]") {
  on(served_volumes(), [](const System& system) {
    const HostDirectory host({file("f", "1"), file("d/x", "2"), file("open", "3")});
    Stack stack = Stack{}.lower({file("g")}).upper();
    stack.mount(system, volume(host(), "/v"));
    File open(stack("v/open"), O_RDWR);
    CHECK(joined({content(stack("v/f")), content(stack("v/d/x")), open.read_all()}) == "1 2 3");
    CHECK(joined({call::unlink(host("f")), call::unlink(host("d/x")), call::rmdir(host("d"))}) ==
          "ok ok ok");
    while (holds_deleted(stack.daemon())) {
      std::this_thread::yield();
    }
    CHECK(call::unlink(host("open")) == "ok");
    CHECK(call::create(host("open"), "another") == "ok");
    CHECK(joined({open.pwrite("+", 1), open.read_all(), content(stack("v/open"))}) ==
          "ok 3+ another");
    CHECK(holds_deleted(stack.daemon()));
    CHECK(open.close() == "ok");
    while (holds_deleted(stack.daemon())) {
      std::this_thread::yield();
    }
  });
}

std::size_t mounts_below(const std::string& path) {
  const std::string mounts = content("/proc/self/mountinfo");
  std::size_t count = 0;
  for (std::size_t at = 0; (at = mounts.find(" " + path, at)) != std::string::npos; ++at) {
    ++count;
  }
  return count;
}

TEST_CASE("plyfs umount takes bound volumes off, all or none", "[volume][root]") {
  on(volume_modes(), [](const System& system) {
    if (!is_root() || system.name.find("bind") == std::string::npos) {
      return skip("only root binds volumes");
    }
    const HostDirectory host({file("f", "1"), dir("in")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(host(), "/v") + "," + volume(host(), "/v/in", "ro") + "," +
                            volume(host("f"), "/file"));
    REQUIRE(mounts_below(stack.mountpoint()) == 4);
    const auto umount = [&] { return run({plyfs_program(), "umount", stack.mountpoint()}); };
    {
      const File used(stack("v/f"), O_RDONLY);
      CHECK(umount().exit_code == 32);
      CHECK(umount().err == "plyfs: cannot unmount: " + stack("v") +
                                ": Device or resource busy; something uses it ('fuser -vm' tells "
                                "what); --lazy detaches it all the same\n");
      CHECK(mounts_below(stack.mountpoint()) == 4);
      CHECK(call::create(stack("v/in/x")) == "EROFS");
      CHECK(content(stack("file")) == "1");
    }
    {
      const File used(stack(), O_RDONLY);
      CHECK(umount().exit_code == 32);
      CHECK(mounts_below(stack.mountpoint()) == 4);
      CHECK(call::append(stack("v/f"), "+") == "ok");
    }
    CHECK(run({"umount", stack.mountpoint()}).exit_code == 32);  // plain umount(8): busy
    // As umount(8) calls it once plyfs is installed.
    const std::string helper = stack.directory() + "/umount.fuse.plyfs";
    REQUIRE(call::symlink(plyfs_program(), helper) == "ok");
    CHECK(run({helper, stack.mountpoint(), "-n", "-t", "fuse.plyfs"}).err == "");
    CHECK(mounts_below(stack.mountpoint()) == 0);
    CHECK(stack.await_death() == 0);
    CHECK(content(host("f")) == "1+");
  });
}

TEST_CASE("bound volumes go with a daemon that is told to end, and after one that died",
          "[volume][root]") {
  on(volume_modes(), [](const System& system) {
    if (!is_root() || system.name.find("bind") == std::string::npos) {
      return skip("only root binds volumes");
    }
    const HostDirectory host({file("f", "1")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(host(), "/v"));
    ::kill(stack.daemon(), SIGTERM);
    CHECK(stack.await_death() == 0);
    CHECK(mounts_below(stack.mountpoint()) == 0);

    Stack dead = Stack{}.lower({dir("v")}).upper();
    dead.mount(system, volume(host(), "/v"));
    ::kill(dead.daemon(), SIGKILL);
    struct statvfs answer {};
    while (::statvfs(dead().c_str(), &answer) == 0) {  // never from a cache
      std::this_thread::yield();
    }
    // A bind mount is now and then busy for a moment after its last user, here the daemon, ended.
    std::string told = "busy";
    for (int i = 0; i < 100 && told.find("busy") != std::string::npos; ++i) {
      told = run({plyfs_program(), "umount", dead.mountpoint()}).err;
      std::this_thread::sleep_for(std::chrono::milliseconds{told.empty() ? 0 : 20});
    }
    CHECK(told.empty());
    CHECK(mounts_below(dead.mountpoint()) == 0);
    (void)dead.await_death();
  });
}

TEST_CASE("bad volumes are refused before anything is mounted", "[volume]") {
  on(served_volumes(), [](const System& system) {
    Stack stack = Stack{}.lower({file("file", "1")}).upper();
    stack.build(system);
    const HostDirectory host({dir("d")});
    const auto refusal = [&](const std::string& volumes, int exit_code = 32) {
      const Ran ran = run({plyfs_program(), "mount", "-o", stack.layer_options() + "," + volumes,
                           stack.mountpoint()});
      CHECK(ran.exit_code == exit_code);
      return ran.err;
    };
    CHECK(refusal(volume(host("none"), "/v") + ",strict-volumes") ==
          "plyfs: cannot use volume: " + host("none") +
              ": No such file or directory; create it, or leave out --strict-volumes\n");
    CHECK(
        refusal(volume(host("d"), "/file/v")) ==
        "plyfs: cannot place volume: /file/v: Not a directory; choose another path in the mount\n");
    CHECK(refusal(volume(stack.mountpoint(), "/v")) ==
          "plyfs: cannot use volume: " + stack.mountpoint() +
              ": Invalid argument; it lies inside the mountpoint: choose a source outside of it\n");
    CHECK(refusal(volume(host("d"), "/v") + "," + volume(host(), "/v"), 1) ==
          "plyfs: two volumes at one path: /v: File exists; leave one of them out, or choose "
          "another path in the mount\n");
    CHECK(names_in(stack.mountpoint()).empty());
  });
}

}  // namespace
}  // namespace plyfs::tests
