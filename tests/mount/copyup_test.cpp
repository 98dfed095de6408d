// Copy-up: what it keeps, when it happens, and that one file has one content.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "attributes.h"
#include "stack.h"

namespace plyfs::tests {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;

Systems without_kernel() {
  Systems systems = posix_systems();
  std::erase_if(systems, [](const System& system) { return system.is_kernel(); });
  return systems;
}

TEST_CASE("opening for writing copies nothing, the first write does", "[copyup]") {
  on(every_plyfs(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "lower")}).upper();
    stack.mount(system);
    File reader(stack("d/f"), O_RDONLY);
    File writer(stack("d/f"), O_RDWR);
    REQUIRE(writer.opened() == "ok");
    CHECK(writer.pread(0, 5) == "lower");
    CHECK(writer.stat().st_size == 5);
    CHECK(call::open(stack("d/f"), O_WRONLY | O_APPEND) == "ok");
    CHECK(stack.upper_picture() == Picture{});
    CHECK(writer.pwrite("U", 0) == "ok");
    CHECK(outcome(::fsync(writer.fd())) == "ok");
    CHECK(stack.upper_picture() == Picture{"d/", "d/f=Uower"});
    CHECK(reader.pread(0, 5) == "Uower");
  });
}

TEST_CASE("reading, listing and stat copy nothing", "[copyup]") {
  on(every_union(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("d/f", "lower"), symlink("l", "d"), dir("e")})
                      .lower({dir("e")})
                      .upper();
    stack.mount(system);
    (void)full_dump(stack());
    CHECK(call::access(stack("d/f"), R_OK | W_OK) == "ok");
    CHECK(content(stack("l/f")) == "lower");
    CHECK(stack.upper_picture() == Picture{});
  });
}

TEST_CASE("a write makes the parents, with their attributes, and nothing beside them", "[copyup]") {
  on(every_union(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({dir("a").with_mode(0751).with_mtime({11, 12}),
                              dir("a/b").with_mode(0705).with_xattr("user.k", "v"),
                              file("a/b/c/f", "1"), file("a/b/c/g", "2"), file("a/h", "3")})
                      .upper();
    stack.mount(system);
    const Dump before = full_dump(stack());
    REQUIRE(call::append(stack("a/b/c/f"), "+") == "ok");
    CHECK(stack.upper_picture() == Picture{"a/", "a/b/", "a/b/c/", "a/b/c/f=1+"});
    CHECK(permissions(stack.upper_path("a")) == 0751);
    CHECK(permissions(stack.upper_path("a/b")) == 0705);
    CHECK(xattr(stack.upper_path("a/b"), "user.k") == "v");
    Dump after = full_dump(stack());
    after["a/b/c/f"] = before.at("a/b/c/f");
    CHECK(difference(before, after).empty());
    CHECK(stack.left_overs() == Picture{});
  });
}

TEST_CASE("copy-up keeps mtime, mode, owner and xattrs", "[copyup]") {
  on(every_union(), [](const System& system) {
    const uid_t uid = is_root() ? 1234 : ::getuid();
    const gid_t gid = is_root() ? 4321 : ::getgid();
    Stack stack = Stack{}
                      .lower({file("f", pattern(3 * 4096 + 5))
                                  .with_owner(uid, gid)
                                  .with_mode(04751)
                                  .with_mtime({77, 123'456'789})
                                  .with_xattr("user.one", "1")
                                  .with_xattr("user.binary", std::string("\0\1\xff", 3))})
                      .upper();
    stack.mount(system);
    const Dump before = full_dump(stack());
    REQUIRE(call::rename(stack("f"), stack("g")) == "ok");
    const auto check = [&] {
      CHECK(full_dump(stack()).at("g") == before.at("f"));
      CHECK(mtime_ns(stack.upper_path("g")) == 77'123'456'789);
    };
    check();
    stack.remount();
    check();
    File writer(stack("g"), O_WRONLY);
    REQUIRE(writer.pwrite("X", 0) == "ok");
    REQUIRE(outcome(::fsync(writer.fd())) == "ok");
    REQUIRE(writer.close() == "ok");
    CHECK(content(stack.upper_path("g")) == "X" + pattern(3 * 4096 + 5).substr(1));
    CHECK(xattr(stack.upper_path("g"), "user.binary") == std::string("\0\1\xff", 3));
    CHECK(status(stack.upper_path("g")).st_uid == uid);
    CHECK(status(stack.upper_path("g")).st_gid == gid);
    CHECK(mtime_ns(stack("g")) > 77'123'456'789);
  });
}

TEST_CASE("copy-up keeps capabilities", "[copyup][root]") {
  on(every_union(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: security.capability");
    }
    Stack stack =
        Stack{}.lower({file("f", "1").with_xattr(kCapability, file_capability())}).upper();
    stack.mount(system);
    REQUIRE(call::chmod(stack("f"), 0711) == "ok");
    CHECK(xattr(stack("f"), kCapability) == file_capability());
    REQUIRE(call::rename(stack("f"), stack("g")) == "ok");
    stack.remount();
    CHECK(xattr(stack("g"), kCapability) == file_capability());
    CHECK(xattr(stack.upper_path("g"), kCapability) == file_capability());
  });
}

TEST_CASE("what the work directory would hand down gets into no copy", "[copyup][acl]") {
  on(plyfs_only(), [](const System& system) {
    if (!acls_work(workspace())) {
      return skip("needs a filesystem with POSIX ACLs");
    }
    Stack stack = Stack{}.lower({file("d/f", "1"), dir("e")}).upper();
    stack.build(system);
    // As beside an upper whose parent has a default ACL: both are made with it.
    const std::string inherited = acl_for_user(7, 54321, 7, 7, 7, 7);
    REQUIRE(call::setxattr(stack.work_path(), kDefaultAcl, inherited) == "ok");
    stack.mount(system);
    CHECK(call::append(stack("d/f"), "2") == "ok");
    CHECK(call::create(stack("e/new"), "3") == "ok");
    CHECK(call::mkdir(stack("e/dir")) == "ok");
    for (const char* path : {"d", "d/f", "e", "e/new", "e/dir"}) {
      CAPTURE(path);
      CHECK(xattr(stack(path), kAccessAcl) == "<ENODATA>");
      CHECK(xattr(stack.upper_path(path), kAccessAcl) == "<ENODATA>");
      CHECK(xattr(stack.upper_path(path), kDefaultAcl) == "<ENODATA>");
    }
  });
}

TEST_CASE("copy-up keeps ACLs", "[copyup][acl]") {
  on(every_union(), [](const System& system) {
    if (!acls_work(workspace())) {
      return skip("needs a filesystem with POSIX ACLs");
    }
    const std::string access = acl_for_user(7, 12345, 6, 5, 7, 0);
    const std::string inherited = acl_for_user(7, 54321, 5, 5, 5, 1);
    Stack stack = Stack{}
                      .lower({dir("d").with_xattr(kDefaultAcl, inherited),
                              file("d/f", "1").with_xattr(kAccessAcl, access)})
                      .upper();
    stack.mount(system);
    REQUIRE(call::append(stack("d/f"), "2") == "ok");
    const auto check = [&] {
      CHECK(acl_text(xattr(stack("d/f"), kAccessAcl)) == acl_text(access));
      CHECK(acl_text(xattr(stack("d"), kDefaultAcl)) == acl_text(inherited));
      CHECK(acl_text(xattr(stack.upper_path("d/f"), kAccessAcl)) == acl_text(access));
      CHECK(permissions(stack("d/f")) == 0770);
    };
    check();
    stack.remount();
    check();
  });
}

TEST_CASE("copy-up keeps holes", "[copyup]") {
  on(every_union(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "head").with_size(off_t{16} << 20U)}).upper();
    stack.mount(system);
    if (status(stack("f")).st_blocks > 1024) {
      return skip("needs a filesystem with holes");
    }
    File writer(stack("f"), O_RDWR);
    REQUIRE(writer.pwrite("tail", (off_t{16} << 20U) - 4) == "ok");
    REQUIRE(outcome(::fsync(writer.fd())) == "ok");
    CHECK(writer.pread(0, 4) == "head");
    CHECK(writer.pread((off_t{16} << 20U) - 8, 8) == std::string(4, '\0') + "tail");
    CHECK(status(stack.upper_path("f")).st_blocks < 8192);  // the kernel copies 1 MiB at a time
    CHECK(status(stack.upper_path("f")).st_size == (off_t{16} << 20U));
  });
}

TEST_CASE("everything that is not a regular file is copied up as what it is", "[copyup]") {
  on(every_union(), [](const System& system) {
    Items items = {symlink("l", "nowhere"), fifo("p"), socket_node("s"), dir("d")};
    if (is_root()) {
      items.push_back(device("c", S_IFCHR, 1, 5));
    }
    Stack stack = Stack{}.lower(items).upper();
    stack.mount(system);
    const Picture before = picture(stack());
    for (const Item& item : items) {
      CHECK(call::utimens(stack(item.path), {1, 2}, {3, 4}) == "ok");
      CHECK(mtime_ns(stack(item.path)) == 3'000'000'004);
      if (is_root()) {
        CHECK(call::chown(stack(item.path), 11, 22) == "ok");
      }
    }
    stack.remount();
    CHECK(picture(stack()) == before);
    CHECK(upper_picture(stack.upper_path()) == before);
    for (const Item& item : items) {
      CHECK(mtime_ns(stack(item.path)) == 3'000'000'004);
      CHECK(status(stack(item.path)).st_uid == (is_root() ? 11 : ::getuid()));
    }
  });
}

TEST_CASE("who opened a file before its copy-up sees later writes", "[copyup]") {
  // The kernel has a gap here: readers keep the lower file.
  on(without_kernel(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "0123456789")}).upper();
    stack.mount(system);
    const File reader(stack("f"), O_RDONLY);
    CHECK(reader.pread(0, 10) == "0123456789");
    REQUIRE(call::append(stack("f"), "+") == "ok");
    CHECK(reader.pread(0, 20) == "0123456789+");
    CHECK(reader.stat().st_size == 11);
    REQUIRE(call::truncate(stack("f"), 3) == "ok");
    CHECK(reader.pread(0, 20) == "012");
    REQUIRE(call::overwrite(stack("f"), "new") == "ok");
    CHECK(reader.pread(0, 20) == "new");
    CHECK(reader.stat().st_ino == status(stack("f")).st_ino);
  });
}

TEST_CASE("a shared mapping made before the copy-up sees later writes", "[copyup]") {
  on(without_kernel(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", std::string(8192, 'l'))}).upper();
    stack.mount(system);
    const File reader(stack("f"), O_RDONLY);
    void* map = ::mmap(nullptr, 8192, PROT_READ, MAP_SHARED, reader.fd(), 0);
    REQUIRE(map != MAP_FAILED);
    const volatile char* bytes = static_cast<const char*>(map);
    CHECK(bytes[0] == 'l');
    CHECK(bytes[5000] == 'l');
    File writer(stack("f"), O_WRONLY);
    REQUIRE(writer.pwrite("W", 0) == "ok");
    REQUIRE(writer.pwrite("X", 5000) == "ok");
    CHECK(bytes[0] == 'W');
    CHECK(bytes[5000] == 'X');
    CHECK(bytes[1] == 'l');
    ::munmap(map, 8192);
  });
}

TEST_CASE("concurrent first writes of one file copy it once and lose nothing",
          "[copyup][threads]") {
  on(every_union(), [](const System& system) {
    constexpr int kWriters = 8;
    constexpr off_t kSlot = 512 * 1024;
    const std::string before = pattern(kWriters * kSlot);
    for (int round = 0; round < 5; ++round) {
      Stack stack = Stack{}.lower({file("d/f", before)}).upper();
      stack.mount(system);
      std::vector<std::thread> writers;
      std::vector<std::string> outcomes(kWriters);
      for (int writer = 0; writer < kWriters; ++writer) {
        writers.emplace_back([&, writer] {
          File target(stack("d/f"), O_RDWR);
          outcomes[static_cast<std::size_t>(writer)] =
              target.pwrite("writer" + std::to_string(writer), writer * kSlot + 100);
        });
      }
      for (std::thread& writer : writers) {
        writer.join();
      }
      std::string expected = before;
      for (int writer = 0; writer < kWriters; ++writer) {
        CHECK(outcomes[static_cast<std::size_t>(writer)] == "ok");
        expected.replace(static_cast<std::size_t>(writer * kSlot + 100), 7,
                         "writer" + std::to_string(writer));
      }
      CHECK((content(stack("d/f")) == expected));
      CHECK(names_in(stack.upper_path("d")).size() == 1);
      CHECK(stack.left_overs() == Picture{});
      stack.remount();
      CHECK((content(stack("d/f")) == expected));
    }
  });
}

TEST_CASE("O_TRUNC and truncate of a lower file leave the right bytes", "[copyup]") {
  Systems systems = every_union();
  systems.push_back(posix_systems().front());
  on(systems, [](const System& system) {
    const std::string before = pattern(kMiB);
    Stack stack = Stack{}
                      .lower({file("open", before), file("zero", before), file("short", before),
                              file("long", before), file("fd", before)})
                      .upper();
    stack.mount(system);
    REQUIRE(call::overwrite(stack("open"), "new") == "ok");
    REQUIRE(call::truncate(stack("zero"), 0) == "ok");
    REQUIRE(call::truncate(stack("short"), 5000) == "ok");
    REQUIRE(call::truncate(stack("long"), static_cast<off_t>(kMiB) + 10) == "ok");
    File handle(stack("fd"), O_RDWR);
    REQUIRE(outcome(::ftruncate(handle.fd(), 7)) == "ok");
    REQUIRE(handle.close() == "ok");
    const auto check = [&] {
      CHECK(content(stack("open")) == "new");
      CHECK(content(stack("zero")).empty());
      CHECK((content(stack("short")) == before.substr(0, 5000)));
      CHECK((content(stack("long")) == before + std::string(10, '\0')));
      CHECK(content(stack("fd")) == before.substr(0, 7));
    };
    check();
    CHECK(mtime_ns(stack("zero")) > nanoseconds(kOldTime));
    stack.remount();
    check();
  });
}

TEST_CASE("a write in one of many layers touches the upper only", "[copyup]") {
  on(every_union(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("d/top", "1")})
                      .lower({file("d/mid", "2"), file("d/top", "hidden")})
                      .lower({file("d/low", "3"), file("d/mid", "hidden")})
                      .upper({file("d/up", "u")});
    stack.mount(system);
    for (const char* name : {"d/top", "d/mid", "d/low", "d/up"}) {
      REQUIRE(call::append(stack(name), "+") == "ok");
    }
    stack.remount();
    CHECK(picture(stack()) == Picture{"d/", "d/low=3+", "d/mid=2+", "d/top=1+", "d/up=u+"});
    CHECK(stack.upper_picture() == picture(stack()));
  });
}

}  // namespace
}  // namespace plyfs::tests
