// Deleting, recreating, and files that are unlinked while open.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "stack.h"

namespace plyfs::tests {
namespace {

Systems all_systems() {
  Systems systems = every_union();
  systems.insert(systems.begin(), posix_systems().front());
  return systems;
}

TEST_CASE("deleting a lower file leaves a whiteout, deleting an upper file nothing", "[remove]") {
  on(every_union(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("d/low"), file("d/both"), symlink("d/l", "x"), dir("d/e")})
                      .upper({file("d/up"), file("d/both")});
    stack.mount(system);
    for (const char* name : {"d/low", "d/both", "d/up", "d/l"}) {
      CHECK(call::unlink(stack(name)) == "ok");
      CHECK(call::stat(stack(name)) == "ENOENT");
      CHECK(call::unlink(stack(name)) == "ENOENT");
    }
    CHECK(call::rmdir(stack("d/e")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"d/"});
    CHECK(stack.upper_picture() == Picture{"d/", "d/both (whiteout)", "d/e (whiteout)",
                                           "d/l (whiteout)", "d/low (whiteout)"});
    CHECK(stack.left_overs() == Picture{});
  });
}

TEST_CASE("a file created where one was deleted is new, again and again", "[remove]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "lower").with_mode(0600)}).upper();
    stack.mount(system);
    for (const std::string text : {"one", "two", "three"}) {
      REQUIRE(call::unlink(stack("f")) == "ok");
      CHECK(call::stat(stack("f")) == "ENOENT");
      REQUIRE(call::create(stack("f"), text) == "ok");
      CHECK(call::create(stack("f"), text) == "EEXIST");
      CHECK(content(stack("f")) == text);
      CHECK(permissions(stack("f")) == 0644);
    }
    stack.remount();
    CHECK(picture(stack()) == Picture{"f=three"});
    REQUIRE(call::unlink(stack("f")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{});
  });
}

TEST_CASE("everything can be created over a whiteout", "[remove]") {
  on(all_systems(), [](const System& system) {
    Items items;
    for (const char* name : {"file", "dir", "symlink", "fifo", "socket", "link", "rename", "tmp"}) {
      items.push_back(file(name, "lower"));
    }
    items.push_back(file("other", "other"));
    items.push_back(file("moving", "moving"));
    Stack stack = Stack{}.lower(items).upper();
    stack.mount(system);
    for (const char* name : {"file", "dir", "symlink", "fifo", "socket", "link", "rename"}) {
      REQUIRE(call::unlink(stack(name)) == "ok");
    }
    CHECK(call::create(stack("file"), "new") == "ok");
    CHECK(call::mkdir(stack("dir")) == "ok");
    CHECK(call::symlink("target", stack("symlink")) == "ok");
    CHECK(call::mknod(stack("fifo"), S_IFIFO | 0600) == "ok");
    CHECK(call::mknod(stack("socket"), S_IFSOCK | 0600) == "ok");
    CHECK(call::link(stack("other"), stack("link")) == "ok");
    CHECK(call::rename(stack("moving"), stack("rename")) == "ok");
    const Picture expected = {"dir/",       "fifo|",           "file=new",
                              "link=other", "other=other",     "rename=moving",
                              "socket^",    "symlink->target", "tmp=lower"};
    CHECK(picture(stack()) == expected);
    stack.remount();
    CHECK(picture(stack()) == expected);
  });
}

TEST_CASE("a directory made where one was deleted is empty and stays so", "[remove]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("d/a"), file("d/s/b")})
                      .lower({file("d/c"), file("d/s/e"), file("f", "file")})
                      .upper();
    stack.mount(system);
    for (const char* name : {"d/a", "d/c", "d/s/b", "d/s/e"}) {
      REQUIRE(call::unlink(stack(name)) == "ok");
    }
    REQUIRE(call::rmdir(stack("d/s")) == "ok");
    REQUIRE(call::rmdir(stack("d")) == "ok");
    REQUIRE(call::mkdir(stack("d")) == "ok");
    REQUIRE(call::unlink(stack("f")) == "ok");
    REQUIRE(call::mkdir(stack("f")) == "ok");
    CHECK(picture(stack()) == Picture{"d/", "f/"});
    REQUIRE(call::mkdir(stack("d/s")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"d/", "d/s/", "f/"});
    REQUIRE(call::create(stack("d/s/e"), "new") == "ok");
    REQUIRE(call::unlink(stack("d/s/e")) == "ok");
    REQUIRE(call::rmdir(stack("d/s")) == "ok");
    if (!system.is_plain()) {  // a whiteout in an opaque directory would be garbage
      for (const std::string& line : stack.upper_picture()) {
        CHECK(line.find("whiteout") == std::string::npos);
      }
    }
    REQUIRE(call::rmdir(stack("d")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"f/"});
  });
}

TEST_CASE("a merged directory whose names are all deleted can be removed", "[remove]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("m/a"), file("m/b"), file("n/x")})
                      .lower({file("m/b"), file("m/c"), file("n/y")})
                      .upper({file("m/u"), whiteout("m/c"), file("k", "1")});
    stack.mount(system);
    for (const char* name : {"m/a", "m/b", "m/u", "n/x", "n/y"}) {
      REQUIRE(call::unlink(stack(name)) == "ok");
    }
    CHECK(names_in(stack("m")).empty());
    CHECK(call::rmdir(stack("m")) == "ok");
    CHECK(call::rmdir(stack("n")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"k=1"});
    if (!system.is_plain()) {
      CHECK(stack.upper_picture() == Picture{"k=1", "m (whiteout)", "n (whiteout)"});
      CHECK(stack.left_overs() == Picture{});
    }
  });
}

TEST_CASE("a directory with only a lower whiteout in it can be removed", "[remove]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({whiteout("d/x"), xattr_whiteout("e/x"), dir("o")})
                      .lower({file("d/x"), file("e/x")})
                      .upper();
    stack.mount(system);
    CHECK(picture(stack()) == (reads_xattr_whiteouts(system) ? Picture{"d/", "e/", "o/"}
                                                             : Picture{"d/", "e/", "e/x=", "o/"}));
    CHECK(call::rmdir(stack("d")) == "ok");
    CHECK(call::mkdir(stack("d")) == "ok");
    if (!system.is_kernel()) {  // which lists e as empty and then finds it not empty
      CHECK(call::rmdir(stack("e")) == "ok");
      stack.remount();
      CHECK(picture(stack()) == Picture{"d/", "o/"});
    }
  });
}

TEST_CASE("rmdir and unlink refuse what POSIX says", "[remove]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("low/x"), file("m/x"), file("f")})
                      .upper({file("up/x"), dir("m"), file("uf"), dir("e")});
    stack.mount(system);
    for (const char* name : {"low", "m", "up"}) {
      INFO(name);
      CHECK(call::rmdir(stack(name)) == "ENOTEMPTY");
      CHECK(call::unlink(stack(name)) == "EISDIR");
    }
    for (const char* name : {"f", "uf"}) {
      CHECK(call::rmdir(stack(name)) == "ENOTDIR");
      CHECK(call::unlink(stack(name) + "/x") == "ENOTDIR");
    }
    CHECK(call::unlink(stack("e")) == "EISDIR");
    CHECK(call::rmdir(stack("nothing")) == "ENOENT");
    CHECK(call::rmdir(stack("e/.")) == "EINVAL");
    CHECK(call::rmdir(stack("e/..")) == "ENOTEMPTY");
    CHECK(call::mkdir(stack("low")) == "EEXIST");
    CHECK(call::mkdir(stack("f")) == "EEXIST");
    CHECK(call::mkdir(stack("nowhere/d")) == "ENOENT");
    CHECK(call::symlink("x", stack("low/x")) == "EEXIST");
    CHECK(call::mknod(stack("uf"), S_IFIFO | 0600) == "EEXIST");
  });
}

TEST_CASE("nothing can be created in a directory that is gone", "[remove]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({dir("low")}).upper({dir("up")});
    stack.mount(system);
    for (const char* name : {"low", "up"}) {
      INFO(name);
      const File directory(stack(name), O_RDONLY | O_DIRECTORY);
      REQUIRE(call::rmdir(stack(name)) == "ok");
      CHECK(outcome(::mkdirat(directory.fd(), "d", 0755)) == "ENOENT");
      CHECK(outcome(::openat(directory.fd(), "f", O_CREAT | O_WRONLY, 0644)) == "ENOENT");
      CHECK(outcome(::symlinkat("x", directory.fd(), "l")) == "ENOENT");
      CHECK(outcome(::unlinkat(directory.fd(), "x", 0)) == "ENOENT");
      if (!system.is_kernel()) {  // which goes on counting in the lower layer
        CHECK(directory.stat().st_nlink == 0);
      }
    }
  });
}

/// Everything that must go on working with a file that has no name any more.
void use_unlinked(File& handle, const std::string& before) {
  CHECK(handle.stat().st_nlink == 0);
  CHECK(handle.pread(0, before.size() + 10) == before);
  CHECK(handle.pwrite("NEW", 1) == "ok");
  std::string expected = before;
  expected.replace(1, 3, "NEW");
  CHECK(handle.pread(0, 100) == expected);
  CHECK(outcome(::ftruncate(handle.fd(), 5)) == "ok");
  CHECK(handle.stat().st_size == 5);
  CHECK(outcome(::fchmod(handle.fd(), 0600)) == "ok");
  CHECK((handle.stat().st_mode & 07777U) == 0600);
  CHECK(outcome(::fchown(handle.fd(), ::geteuid(), ::getegid())) == "ok");
  const timespec times[2] = {{1, 2}, {3, 4}};
  CHECK(outcome(::futimens(handle.fd(), times)) == "ok");
  CHECK(nanoseconds(handle.stat().st_mtim) == 3'000'000'004);
  CHECK(outcome(::fsetxattr(handle.fd(), "user.k", "v", 1, 0)) == "ok");
  char value[8] = {};
  CHECK(::fgetxattr(handle.fd(), "user.k", value, sizeof(value)) == 1);
  if (is_root()) {
    drop_caches();
  }
  CHECK(handle.pread(0, 100) == expected.substr(0, 5));
  CHECK(handle.stat().st_nlink == 0);
  CHECK((handle.stat().st_mode & 07777U) == 0600);
  CHECK(handle.pwrite("tail", 5) == "ok");
  CHECK(handle.pread(0, 100) == expected.substr(0, 5) + "tail");
  CHECK(outcome(::fsync(handle.fd())) == "ok");
}

TEST_CASE("an unlinked but open file works in every respect", "[remove][unlinked]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("low", "0123456789"), file("meta", "0123456789")})
                      .upper({file("up", "0123456789")});
    stack.mount(system);
    REQUIRE(call::chmod(stack("meta"), 0640) == "ok");
    for (const char* name : {"low", "meta", "up"}) {
      INFO(name);
      File handle(stack(name), O_RDWR);
      REQUIRE(call::unlink(stack(name)) == "ok");
      use_unlinked(handle, "0123456789");
    }
    REQUIRE(call::create(stack("new"), "0123456789") == "ok");
    File handle(stack("new"), O_RDWR);
    REQUIRE(call::unlink(stack("new")) == "ok");
    REQUIRE(call::create(stack("new"), "another") == "ok");
    use_unlinked(handle, "0123456789");
    CHECK(content(stack("new")) == "another");
    REQUIRE(handle.close() == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"new=another"});
  });
}

TEST_CASE("an unlinked file that was only read still reads, also after dropped caches",
          "[remove][unlinked]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("low", pattern(100'000))}).upper({file("up", "upper")});
    stack.mount(system);
    const File low(stack("low"), O_RDONLY);
    const File up(stack("up"), O_RDONLY);
    void* map = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, low.fd(), 0);
    REQUIRE(map != MAP_FAILED);
    REQUIRE(call::unlink(stack("low")) == "ok");
    REQUIRE(call::unlink(stack("up")) == "ok");
    if (is_root()) {
      drop_caches();
    }
    CHECK((low.read_all() == pattern(100'000)));
    CHECK(up.read_all() == "upper");
    CHECK(static_cast<const char*>(map)[0] == pattern(1)[0]);
    if (!system.is_kernel()) {  // which goes on counting in the lower layer
      CHECK(low.stat().st_nlink == 0);
    }
    CHECK(up.stat().st_nlink == 0);
    ::munmap(map, 4096);
  });
}

TEST_CASE("a file replaced by rename while open keeps its content", "[remove][unlinked]") {
  on(all_systems(), [](const System& system) {
    Stack stack =
        Stack{}.lower({file("low", "0123456789"), file("a", "new")}).upper({file("b", "newer")});
    stack.mount(system);
    File old(stack("low"), O_RDWR);
    REQUIRE(call::rename(stack("a"), stack("low")) == "ok");
    File middle(stack("low"), O_RDWR);
    REQUIRE(call::rename(stack("b"), stack("low")) == "ok");
    use_unlinked(old, "0123456789");
    CHECK(middle.read_all() == "new");
    CHECK(middle.pwrite("X", 0) == "ok");
    CHECK(content(stack("low")) == "newer");
  });
}

TEST_CASE("O_TMPFILE is a file without a name until it is linked", "[remove][tmpfile]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({dir("d"), file("d/taken", "lower")}).upper();
    stack.mount(system);
    File handle(stack("d"), O_TMPFILE | O_RDWR, 0640);
    if (system.is_plyfs() && handle.opened() == "ENOTSUP") {
      return skip("needs a libfuse that knows FUSE_TMPFILE");
    }
    if (system.is_kernel() && handle.opened() == "EOPNOTSUPP") {
      return skip("kernel: needs an overlayfs with O_TMPFILE");
    }
    REQUIRE(handle.opened() == "ok");
    CHECK(handle.stat().st_nlink == 0);
    CHECK(handle.write("0123456789") == "ok");
    CHECK(names_in(stack("d")) == std::vector<std::string>{"taken"});
    const std::string self = "/proc/self/fd/" + std::to_string(handle.fd());
    const auto link_to = [&](const std::string& name) {
      return outcome(
          ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, stack(name).c_str(), AT_SYMLINK_FOLLOW));
    };
    CHECK(link_to("d/taken") == "EEXIST");
    CHECK(link_to("d/named") == "ok");
    CHECK(handle.stat().st_nlink == 1);
    CHECK(content(stack("d/named")) == "0123456789");
    CHECK(permissions(stack("d/named")) == 0640);
    File unnamed(stack("d"), O_TMPFILE | O_RDWR, 0640);
    REQUIRE(unnamed.write("0123456789") == "ok");
    use_unlinked(unnamed, "0123456789");
    File closed(stack("d"), O_TMPFILE | O_RDWR | O_EXCL, 0600);
    const std::string path = "/proc/self/fd/" + std::to_string(closed.fd());
    CHECK(outcome(::linkat(AT_FDCWD, path.c_str(), AT_FDCWD, stack("d/no").c_str(),
                           AT_SYMLINK_FOLLOW)) == "ENOENT");
    for (File* file : {&handle, &unnamed, &closed}) {
      (void)file->close();
    }
    stack.remount();
    CHECK(picture(stack()) == Picture{"d/", "d/named=0123456789", "d/taken=lower"});
  });
}

}  // namespace
}  // namespace plyfs::tests
