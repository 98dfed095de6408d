// Changing what a file is called or who may use it copies no data; a later write completes it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr blkcnt_t kXattrBlocks = 16;  ///< some filesystems put xattrs into a block of their own

Systems with_metacopy() {
  Systems systems = every_union();
  std::erase_if(systems, [](const System& system) { return !system.metacopy; });
  return systems;
}

TEST_CASE("changing metadata of a lower file copies no data", "[metacopy]") {
  on(with_metacopy(), [](const System& system) {
    const std::string data = pattern(kMiB);
    Stack stack = Stack{}
                      .lower({file("mode", data), file("owner", data), file("times", data),
                              file("xattr", data), file("d/link", data)})
                      .upper();
    stack.mount(system);
    const uid_t uid = is_root() ? 77 : ::getuid();
    const gid_t gid = is_root() ? 88 : ::getgid();
    REQUIRE(call::chmod(stack("mode"), 0600) == "ok");
    REQUIRE(call::chown(stack("owner"), uid, gid) == "ok");
    REQUIRE(call::utimens(stack("times"), {1, 2}, {3, 4}) == "ok");
    REQUIRE(call::setxattr(stack("xattr"), "user.k", "v") == "ok");
    REQUIRE(call::link(stack("d/link"), stack("d/other")) == "ok");
    const std::vector<std::string> names = {"mode", "owner", "times", "xattr", "d/link", "d/other"};
    const auto check = [&] {
      for (const std::string& name : names) {
        INFO(name);
        CHECK((content(stack(name)) == data));
        CHECK(status(stack(name)).st_size == static_cast<off_t>(kMiB));
        CHECK(status(stack.upper_path(name)).st_blocks <= kXattrBlocks);
      }
      CHECK(permissions(stack("mode")) == 0600);
      CHECK(status(stack("owner")).st_uid == uid);
      CHECK(status(stack("owner")).st_gid == gid);
      CHECK(mtime_ns(stack("times")) == 3'000'000'004);
      CHECK(xattr(stack("xattr"), "user.k") == "v");
      CHECK(mtime_ns(stack("mode")) == nanoseconds(kOldTime));
    };
    check();
    stack.remount();
    check();
  });
}

TEST_CASE("st_blocks of a file without its own data is the data's", "[metacopy]") {
  on(with_metacopy(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", pattern(kMiB))}).upper();
    stack.mount(system);
    const blkcnt_t before = status(stack("f")).st_blocks;
    REQUIRE(call::chmod(stack("f"), 0600) == "ok");
    CHECK(status(stack("f")).st_blocks == before);
    stack.remount();
    CHECK(status(stack("f")).st_blocks == before);
  });
}

TEST_CASE("a write completes a file that had only its metadata copied", "[metacopy]") {
  on(with_metacopy(), [](const System& system) {
    const std::string data = pattern(kMiB);
    Stack stack = Stack{}
                      .lower({file("write", data), file("append", data), file("short", data),
                              file("long", data), file("trunc", data), file("later", data)})
                      .upper();
    stack.mount(system);
    for (const char* name : {"write", "append", "short", "long", "trunc", "later"}) {
      REQUIRE(call::chmod(stack(name), 0640) == "ok");
      REQUIRE(call::setxattr(stack(name), "user.k", "v") == "ok");
    }
    File writer(stack("write"), O_RDWR);
    REQUIRE(writer.pwrite("XYZ", 500'000) == "ok");
    REQUIRE(writer.close() == "ok");
    REQUIRE(call::append(stack("append"), "+") == "ok");
    REQUIRE(call::truncate(stack("short"), 10) == "ok");
    REQUIRE(call::truncate(stack("long"), static_cast<off_t>(kMiB) + 1) == "ok");
    REQUIRE(call::overwrite(stack("trunc"), "new") == "ok");
    stack.remount();
    REQUIRE(call::append(stack("later"), "+") == "ok");
    const auto check = [&] {
      CHECK((content(stack("write")) == std::string(data).replace(500'000, 3, "XYZ")));
      CHECK((content(stack("append")) == data + "+"));
      CHECK(content(stack("short")) == data.substr(0, 10));
      CHECK((content(stack("long")) == data + std::string(1, '\0')));
      CHECK(content(stack("trunc")) == "new");
      CHECK((content(stack("later")) == data + "+"));
      for (const char* name : {"write", "append", "short", "long", "trunc", "later"}) {
        CHECK(permissions(stack(name)) == 0640);
        CHECK(xattr(stack(name), "user.k") == "v");
        CHECK(xattr_names(stack(name)) == std::vector<std::string>{"user.k"});
      }
    };
    check();
    stack.remount();
    check();
    for (const std::string& line : stack.upper_picture()) {
      CHECK(line.find("(metacopy)") == std::string::npos);
    }
  });
}

TEST_CASE("a file without its own data finds it after renames, also of its parents", "[metacopy]") {
  on(with_metacopy(), [](const System& system) {
    const std::string data = pattern(kMiB);
    Stack stack = Stack{}.lower({file("a/b/f", data), dir("other")}).lower({file("x")}).upper();
    stack.mount(system);
    REQUIRE(call::chmod(stack("a/b/f"), 0600) == "ok");
    REQUIRE(call::rename(stack("a/b/f"), stack("other/g")) == "ok");
    if (system.redirect) {
      REQUIRE(call::rename(stack("other"), stack("a/b/moved")) == "ok");
      REQUIRE(call::rename(stack("a"), stack("z")) == "ok");
    }
    const std::string name = system.redirect ? "z/b/moved/g" : "other/g";
    CHECK((content(stack(name)) == data));
    stack.remount();
    CHECK((content(stack(name)) == data));
    CHECK(permissions(stack(name)) == 0600);
    CHECK(status(stack.upper_path(name)).st_blocks <= kXattrBlocks);
    REQUIRE(call::append(stack(name), "+") == "ok");
    stack.remount();
    CHECK((content(stack(name)) == data + "+"));
  });
}

TEST_CASE("metacopy=off copies the data with any change", "[metacopy]") {
  Systems systems = every_union();
  std::erase_if(systems, [](const System& system) { return system.metacopy; });
  on(systems, [](const System& system) {
    const std::string data = pattern(kMiB);
    Stack stack = Stack{}.lower({file("f", data)}).upper();
    stack.mount(system);
    REQUIRE(call::chmod(stack("f"), 0600) == "ok");
    CHECK((content(stack.upper_path("f")) == data));
    CHECK(mtime_ns(stack.upper_path("f")) == nanoseconds(kOldTime));
  });
}

TEST_CASE("called as fuse-overlayfs plyfs writes no marks that others cannot follow",
          "[metacopy][compatible]") {
  const Watchdog watchdog(120);
  const std::string place = fresh_directory();
  const std::string program = place + "/fuse-overlayfs";
  REQUIRE(call::symlink(plyfs_program(), program) == "ok");
  System system;
  system.kind = System::Kind::kPlyfs;
  for (const bool asked : {false, true}) {
    CAPTURE(asked);
    const std::string data = pattern(kMiB);
    Stack stack = Stack{}.lower({file("f", data), file("d/x", "1")}).upper();
    stack.build(system);
    const std::string words = asked ? ",metacopy=on,redirect_dir=on" : "";
    const Ran ran = run({program, "-o", stack.layer_options() + words, stack.mountpoint()});
    REQUIRE(ran.exit_code == 0);
    CHECK(call::chmod(stack("f"), 0600) == "ok");
    CHECK(call::rename(stack("d"), stack("e")) == (asked ? "ok" : "EXDEV"));
    CHECK(unmount_fuse(stack.mountpoint(), false) == "ok");
    const std::string left = joined(stack.upper_picture());
    CHECK((left.find("metacopy") != std::string::npos) == asked);
    CHECK((left.find("redirect") != std::string::npos) == asked);
  }
  remove_tree(place);
}

}  // namespace
}  // namespace plyfs::tests
