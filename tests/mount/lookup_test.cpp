// What a merged tree shows: shadowing, whiteouts and opaque directories of every family.
#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <vector>

#include "stack.h"

namespace plyfs::tests {
namespace {

using Maker = Item (*)(std::string);

struct Family {
  const char* name;
  Maker make;
};

/// The whiteout families `system` must read; the kernel knows no files called .wh.NAME.
std::vector<Family> families_of(const System& system) {
  std::vector<Family> families = {{"char 0:0", whiteout}};
  if (reads_xattr_whiteouts(system)) {
    families.push_back({"xattr", xattr_whiteout});
  }
  if (!system.is_kernel()) {
    families.push_back({"aufs", aufs_whiteout});
  }
  return families;
}

std::vector<Item> opaque_marks(const System& system) {
  std::vector<Item> marks = {opaque("d")};
  if (system.is_plyfs()) {
    if (!is_root()) {  // root's mount believes trusted.* only (trust_test.cpp)
      marks.push_back(opaque("d", "user.overlay.opaque"));
      marks.push_back(opaque("d", "user.fuseoverlayfs.opaque"));
    }
    marks.push_back(aufs_opaque("d"));
  }
  return marks;
}

TEST_CASE("the topmost layer that has a name shows it", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("a", "1"), file("d/x", "1"), symlink("l", "1")})
                      .lower({file("a", "22"), file("b", "2"), file("d/x", "2"), file("d/y", "2")})
                      .upper({file("b", "u"), file("d/z", "u")});
    stack.mount(system);
    CHECK(picture(stack()) == Picture{"a=1", "b=u", "d/", "d/x=1", "d/y=2", "d/z=u", "l->1"});
    CHECK(status(stack("a")).st_size == 1);
    CHECK(call::stat(stack("nothing")) == "ENOENT");
    CHECK(call::stat(stack("d/nothing")) == "ENOENT");
    CHECK(call::stat(stack("a/x")) == "ENOTDIR");
  });
}

TEST_CASE("what was asked for in vain many times changes no later answer", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    Stack stack =
        Stack{}
            .lower({file("d/top", "1"), whiteout("d/hidden")})
            .lower({file("d/middle", "2"), file("d/hidden", "2"), dir("d/both"), file("d/both/b")})
            .lower({file("d/bottom", "3"), file("d/top", "3"), file("d/both/a"), file("other/f")})
            .upper();
    stack.mount(system);
    for (int i = 0; i < 200; ++i) {
      REQUIRE(call::stat(stack("d/none" + std::to_string(i))) == "ENOENT");
    }
    CHECK(content(stack("d/top")) == "1");
    CHECK(content(stack("d/middle")) == "2");
    CHECK(content(stack("d/bottom")) == "3");
    CHECK(call::stat(stack("d/both/a")) == "ok");
    CHECK(call::stat(stack("d/both/b")) == "ok");
    CHECK(call::stat(stack("d/hidden")) == "ENOENT");
    CHECK(call::create(stack("d/none1"), "new") == "ok");
    CHECK(call::rename(stack("d/middle"), stack("d/none2")) == "ok");
    CHECK(call::rename(stack("other/f"), stack("d/none3")) == "ok");
    CHECK(call::unlink(stack("d/bottom")) == "ok");
    CHECK(call::stat(stack("d/middle")) == "ENOENT");
    CHECK(call::stat(stack("d/bottom")) == "ENOENT");
    stack.remount();
    CHECK(content(stack("d/none1")) == "new");
    CHECK(content(stack("d/none2")) == "2");
    CHECK(call::stat(stack("d/middle")) == "ENOENT");
    CHECK(call::stat(stack("d/bottom")) == "ENOENT");
    CHECK(call::stat(stack("d/none3")) == "ok");
  });
}

TEST_CASE("every type of file shows through from every layer", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    const auto all = [](const std::string& at) {
      return Items{file(at + "/f", "1"), dir(at + "/d"),         symlink(at + "/l", "f"),
                   fifo(at + "/p"),      socket_node(at + "/s"), hardlink(at + "/h", at + "/f")};
    };
    Stack stack = Stack{}.lower(all("top")).lower(all("low")).upper(all("up"));
    stack.mount(system);
    Picture expected;
    for (const std::string at : {"low", "top", "up"}) {
      for (const char* line : {"/", "/d/", "/f=1", "/h=1", "/l->f", "/p|", "/s^"}) {
        expected.push_back(at + line);
      }
    }
    CHECK(picture(stack()) == expected);
    CHECK(status(stack("low/f")).st_ino == status(stack("low/h")).st_ino);
    CHECK(status(stack("low/f")).st_nlink == 2);
    CHECK(S_ISREG(status_of_target(stack("low/l")).st_mode));
  });
}

TEST_CASE("a device node shows unless it is 0:0", "[lookup][root]") {
  on(posix_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: device nodes");
    }
    Stack stack = Stack{}
                      .lower({device("null", S_IFCHR, 1, 3), device("c", S_IFCHR, 0, 1),
                              device("b", S_IFBLK, 7, 250)})
                      .upper();
    stack.mount(system);
    CHECK(picture(stack()) == Picture{"b#7:250", "c%0:1", "null%1:3"});
  });
}

TEST_CASE("what is not a directory cuts off the layers below", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("x/top", "1"), symlink("y", "x"), file("z", "file")})
                      .lower({file("x", "a file"), file("y/hidden"), file("z/hidden")})
                      .lower({file("x/deep"), file("y/deep"), file("z/deep")})
                      .upper();
    stack.mount(system);
    CHECK(picture(stack()) == Picture{"x/", "x/top=1", "y->x", "z=file"});
    CHECK(call::stat(stack("x/deep")) == "ENOENT");
    CHECK(call::stat(stack("z/deep")) == "ENOTDIR");
  });
}

TEST_CASE("a whiteout hides files, directories and symlinks of the layers below it", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    for (const Family& family : families_of(system)) {
      INFO("family " << family.name);
      Stack stack = Stack{}
                        .lower({file("m/above", "1")})
                        .lower({family.make("m/f"), family.make("m/d"), family.make("m/l"),
                                family.make("m/above"), family.make("m/nothing")})
                        .lower({file("m/f"), file("m/d/x"), symlink("m/l", "f"), file("m/above"),
                                file("m/kept", "3")})
                        .upper();
      stack.mount(system);
      CHECK(picture(stack()) == Picture{"m/", "m/above=1", "m/kept=3"});
      for (const char* name : {"f", "d", "l", "nothing"}) {
        CHECK(call::stat(stack("m/") + name) == "ENOENT");
        CHECK(call::open(stack("m/") + name, O_RDONLY) == "ENOENT");
      }
      CHECK(call::stat(stack("m/d/x")) == "ENOENT");
    }
  });
}

TEST_CASE("a whiteout in the upper hides what the layers have", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    for (const Family& family : families_of(system)) {
      if (family.make == xattr_whiteout && !system.is_plyfs()) {
        continue;  // the kernel honours them in lower layers only
      }
      INFO("family " << family.name);
      Stack stack = Stack{}
                        .lower({file("d/f"), file("d/x/y"), file("d/kept", "1")})
                        .upper({family.make("d/f"), family.make("d/x")});
      stack.mount(system);
      CHECK(picture(stack()) == Picture{"d/", "d/kept=1"});
    }
  });
}

TEST_CASE("what comes back above a whiteout does not merge with what is below it", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    for (const Family& family : families_of(system)) {
      INFO("family " << family.name);
      Stack stack = Stack{}
                        .lower({file("m/d/new", "1")})
                        .lower({family.make("m/d")})
                        .lower({file("m/d/old"), file("m/d/sub/old")})
                        .upper({file("m/d/up", "u")});
      stack.mount(system);
      CHECK(picture(stack()) == Picture{"m/", "m/d/", "m/d/new=1", "m/d/up=u"});
      CHECK(call::stat(stack("m/d/old")) == "ENOENT");
    }
  });
}

TEST_CASE("an empty file with a whiteout mark hides also where its directory is not marked",
          "[lookup]") {
  on(unions(), [](const System& system) {
    if (!reads_xattr_whiteouts(system)) {
      return skip("kernel: needs an overlayfs with xattr whiteouts (Linux 6.8)");
    }
    Stack stack = Stack{}
                      .lower({file("d/w").with_xattr(overlay_prefix() + "whiteout", "y")})
                      .lower({file("d/w", "hidden")})
                      .upper();
    stack.mount(system);
    CHECK(call::stat(stack("d/w")) == "ENOENT");  // although the kernel lists the name
    CHECK(content(stack("d/w")) == "<ENOENT>");
  });
}

TEST_CASE("an opaque directory hides what the layers below have in it", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    for (const Item& mark : opaque_marks(system)) {
      INFO("mark " << static_cast<int>(mark.kind) << " " << mark.text);
      Stack stack = Stack{}
                        .lower({file("d/x", "1")})
                        .lower({mark, file("d/y", "2")})
                        .lower({file("d/x", "3"), file("d/z"), file("d/sub/z"), file("e", "3")})
                        .upper({file("d/u", "u")});
      stack.mount(system);
      CHECK(picture(stack()) == Picture{"d/", "d/u=u", "d/x=1", "d/y=2", "e=3"});
      CHECK(call::stat(stack("d/z")) == "ENOENT");
      CHECK(call::stat(stack("d/sub")) == "ENOENT");
    }
  });
}

TEST_CASE("an opaque upper directory shows only the upper", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    for (const Item& mark : opaque_marks(system)) {
      INFO("mark " << static_cast<int>(mark.kind) << " " << mark.text);
      Stack stack =
          Stack{}.lower({file("d/x"), file("d/s/t")}).upper({mark, file("d/u", "u"), dir("d/s")});
      stack.mount(system);
      CHECK(picture(stack()) == Picture{"d/", "d/s/", "d/u=u"});
    }
  });
}

TEST_CASE("a directory marked x still merges", "[lookup]") {
  on(unions(), [](const System& system) {
    if (!reads_xattr_whiteouts(system)) {
      return skip("kernel: needs an overlayfs with xattr whiteouts (Linux 6.8)");
    }
    Stack stack = Stack{}
                      .lower({file("d/a", "1"), dir("d"), xattr_whiteout("d/w")})
                      .lower({file("d/b", "2"), file("d/w")})
                      .upper();
    stack.mount(system);
    CHECK(picture(stack()) == Picture{"d/", "d/a=1", "d/b=2"});
  });
}

TEST_CASE("a layer that cannot be asked is an error, not a layer without the name", "[lookup]") {
  on(plyfs_only(), [](const System& system) {
    if (is_root()) {
      return skip("needs an ordinary user: root may search every directory");
    }
    // What lies in the middle could be a whiteout of d/f, or an opaque mark.
    Stack stack = Stack{}
                      .lower({file("d/top", "t"), file("e/f", "other")})
                      .lower({file("d/f", "middle")})
                      .lower({file("d/f", "bottom"), file("d/low", "l")})
                      .upper();
    stack.mount(system);
    CHECK(content(stack("d/top")) == "t");
    REQUIRE(call::chmod(stack.lower_path(1, "d"), 0) == "ok");
    CHECK(content(stack("d/f")) == "<EACCES>");
    CHECK(call::stat(stack("d/low")) == "EACCES");
    CHECK(call::create(stack("d/f")) == "EACCES");
    CHECK(call::unlink(stack("d/f")) == "EACCES");
    CHECK(call::rename(stack("e/f"), stack("d/f")) == "EACCES");
    CHECK(call::rmdir(stack("d")) == "EACCES");
    CHECK(content(stack("e/f")) == "other");
    CHECK(content(stack("d/top")) == "t");  // found above: the layer is not asked
    stack.remount();
    // Whether it is opaque there is asked when what lies below is wanted, and not before.
    CHECK(call::stat(stack("d")) == "ok");
    CHECK(content(stack("d/top")) == "t");
    CHECK(call::stat(stack("d/low")) == "EACCES");
    CHECK(call::stat(stack("d/none")) == "EACCES");
    CHECK(call::create(stack("d/low")) == "EACCES");
    CHECK(call::mkdir(stack("d/none")) == "EACCES");
    CHECK(call::rmdir(stack("d")) == "EACCES");
    CHECK(names_in(stack("d")) == std::vector<std::string>{"<EACCES>"});
    CHECK(stack.left_overs() == Picture{});
    REQUIRE(call::chmod(stack.lower_path(1, "d"), 0755) == "ok");
  });
}

TEST_CASE("aufs markers never show, and .wh..opq is the whiteout of .opq", "[lookup]") {
  on(every_plyfs(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("d/.wh..opq"), aufs_whiteout("d/gone"), aufs_opaque("e"),
                              file("e/x", "1")})
                      .lower({file("d/.opq"), file("d/gone"), file("d/kept", "2"), file("e/y")})
                      .upper();
    stack.mount(system);
    CHECK(picture(stack()) == Picture{"d/", "d/kept=2", "e/", "e/x=1"});
    CHECK(call::stat(stack("d/.wh.gone")) == "ENOENT");
    CHECK(call::stat(stack("e/.wh..wh..opq")) == "ENOENT");
    CHECK(content(stack("d/.wh..opq")) == "<ENOENT>");
  });
}

TEST_CASE("nobody can plant an aufs marker through the mount", "[lookup]") {
  on(every_plyfs(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/a", "1"), file("f", "2")}).upper();
    stack.mount(system);
    for (const char* name : {"d/.wh.a", "d/.wh..wh..opq"}) {
      INFO(name);
      CHECK(call::create(stack(name)) != "ok");
      CHECK(call::mkdir(stack(name)) != "ok");
      CHECK(call::symlink("x", stack(name)) != "ok");
      CHECK(call::link(stack("f"), stack(name)) != "ok");
      CHECK(call::rename(stack("f"), stack(name)) != "ok");
    }
    stack.remount();
    CHECK(picture(stack()) == Picture{"d/", "d/a=1", "f=2"});
  });
}

TEST_CASE("a merged directory has the attributes of its topmost layer", "[lookup]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({dir("d").with_mode(0751).with_mtime({5, 6}), file("e/1")})
                      .lower({dir("d").with_mode(0700), file("d/x"), dir("e").with_mode(0711)})
                      .upper({dir("e").with_mode(0750).with_mtime({7, 8})});
    stack.mount(system);
    if (!system.is_plain()) {  // making the merged tree by hand touches the directory
      CHECK(mtime_ns(stack("d")) == 5'000'000'006);
    }
    CHECK(permissions(stack("d")) == 0751);
    CHECK(permissions(stack("e")) == 0750);
    CHECK(mtime_ns(stack("e")) == 7'000'000'008);
  });
}

TEST_CASE("one device number, and inode numbers that differ, over several filesystems",
          "[lookup][root]") {
  on(unions(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: mounting filesystems");
    }
    if (system.is_kernel()) {
      return skip("kernel: st_dev differs by layer unless xino=on");
    }
    Stack stack = Stack{}
                      .lower({file("a/1"), file("a/2"), file("a/3")})
                      .lower({file("b/1"), file("b/2"), file("b/3")})
                      .upper({file("c/1"), file("c/2"), file("c/3")})
                      .on_filesystems("tmpfs", "tmpfs");
    stack.mount(system);
    std::vector<ino_t> numbers;
    for (const char* name : {"a", "b", "c", "a/1", "a/2", "b/1", "b/2", "c/1", "c/2"}) {
      CHECK(status(stack(name)).st_dev == status(stack()).st_dev);
      numbers.push_back(status(stack(name)).st_ino);
    }
    std::sort(numbers.begin(), numbers.end());
    CHECK(std::adjacent_find(numbers.begin(), numbers.end()) == numbers.end());
  });
}

/// Of name_to_handle_at(2).
class Handle {
 public:
  std::string make(int directory, const std::string& name) {
    head().handle_bytes = MAX_HANDLE_SZ;
    int mount_id = 0;
    return outcome(::name_to_handle_at(directory, name.c_str(), &head(), &mount_id, 0));
  }
  int open(int mount) { return ::open_by_handle_at(mount, &head(), O_RDONLY); }

 private:
  file_handle& head() { return *reinterpret_cast<file_handle*>(bytes_.data()); }
  alignas(file_handle) std::array<unsigned char, sizeof(file_handle) + MAX_HANDLE_SZ> bytes_{};
};

TEST_CASE("a file handle leads to its file or to none, never to another", "[lookup]") {
  on(plyfs_only(), [](const System& system) {
    constexpr std::size_t kFiles = 40;
    Stack stack = Stack{}.lower({}).upper();
    stack.mount(system);
    const File root(stack(), O_RDONLY | O_DIRECTORY);
    std::vector<Handle> handles(kFiles);
    for (std::size_t i = 0; i < kFiles; ++i) {
      const std::string name = "old" + std::to_string(i);
      REQUIRE(call::create(stack(name), "old") == "ok");
      REQUIRE(handles[i].make(root.fd(), name) == "ok");
    }
    {
      const File first(handles[0].open(root.fd()));
      if (first.fd() < 0) {
        return skip("needs root: opening by file handles");
      }
      CHECK(first.read_all() == "old");
    }
    for (std::size_t i = 0; i < kFiles; ++i) {
      REQUIRE(call::unlink(stack("old" + std::to_string(i))) == "ok");
    }
    drop_caches();
    // The daemon may use the memory of the old ones for these.
    for (std::size_t i = 0; i < 4 * kFiles; ++i) {
      REQUIRE(call::create(stack("new" + std::to_string(i)), "new") == "ok");
    }
    for (Handle& handle : handles) {
      const File found(handle.open(root.fd()));
      CHECK((found.fd() < 0 || found.read_all() == "old"));
    }
  });
}

}  // namespace
}  // namespace plyfs::tests
