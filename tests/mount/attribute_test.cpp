// chmod, chown, times, umask, and the bits that Linux clears on its own.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attributes.h"
#include "stack.h"

namespace plyfs::tests {
namespace {

constexpr uid_t kUser = 1234;
constexpr gid_t kGroup = 4321;
constexpr uid_t kStranger = 5678;

Systems all_systems() {
  Systems systems = every_union();
  systems.insert(systems.begin(), posix_systems().front());
  return systems;
}

std::int64_t atime_ns(const std::string& path) { return nanoseconds(status(path).st_atim); }
std::int64_t ctime_ns(const std::string& path) { return nanoseconds(status(path).st_ctim); }

TEST_CASE("chmod keeps every bit, on files and directories of every layer", "[attribute]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1"), file("d/x")}).upper({file("u"), file("m/u")});
    stack.mount(system);
    for (const char* name : {"f", "d", "u", "m"}) {
      for (const mode_t mode : {0000U, 0777U, 0644U, 04755U, 02711U, 01777U, 07777U}) {
        REQUIRE(call::chmod(stack(name), mode) == "ok");
        CHECK(permissions(stack(name)) == mode);
      }
      REQUIRE(call::chmod(stack(name), 02750) == "ok");
    }
    stack.remount();
    for (const char* name : {"f", "d", "u", "m"}) {
      CHECK(permissions(stack(name)) == 02750);
    }
    CHECK(call::chmod(stack("nothing"), 0644) == "ENOENT");
  });
}

TEST_CASE("chown changes owners, and one of them alone", "[attribute][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: chown");
    }
    Stack stack = Stack{}.lower({file("f", "1"), dir("d"), symlink("l", "nowhere")}).upper();
    stack.mount(system);
    for (const char* name : {"f", "d", "l"}) {
      INFO(name);
      CHECK(call::chown(stack(name), kUser, static_cast<gid_t>(-1)) == "ok");
      CHECK(call::chown(stack(name), static_cast<uid_t>(-1), kGroup) == "ok");
      CHECK(call::chown(stack(name), static_cast<uid_t>(-1), static_cast<gid_t>(-1)) == "ok");
    }
    stack.remount();
    for (const char* name : {"f", "d", "l"}) {
      CHECK(status(stack(name)).st_uid == kUser);
      CHECK(status(stack(name)).st_gid == kGroup);
    }
  });
}

TEST_CASE("utimens sets nanoseconds, now, or leaves alone", "[attribute]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1"), dir("d"), symlink("l", "f")}).upper();
    stack.mount(system);
    const timespec now = {0, UTIME_NOW};
    const timespec omit = {0, UTIME_OMIT};
    for (const char* name : {"f", "d", "l"}) {
      INFO(name);
      const std::string path = stack(name);
      CHECK(call::utimens(path, {1, 1}, {2'000'000'000, 999'999'999}) == "ok");
      CHECK(atime_ns(path) == 1'000'000'001);
      CHECK(mtime_ns(path) == 2'000'000'000'999'999'999);
      CHECK(call::utimens(path, omit, {5, 6}) == "ok");
      CHECK(atime_ns(path) == 1'000'000'001);
      CHECK(mtime_ns(path) == 5'000'000'006);
      CHECK(call::utimens(path, {7, 8}, omit) == "ok");
      CHECK(atime_ns(path) == 7'000'000'008);
      CHECK(mtime_ns(path) == 5'000'000'006);
      CHECK(call::utimens(path, omit, omit) == "ok");
      CHECK(mtime_ns(path) == 5'000'000'006);
      CHECK(call::utimens(path, omit, now) == "ok");
      CHECK(mtime_ns(path) > 1'700'000'000'000'000'000);
      CHECK(atime_ns(path) == 7'000'000'008);
      CHECK(call::utimens(path, {-5, 1}, {-1, 999'999'999}) == "ok");  // before 1970
      CHECK(mtime_ns(path) == -1);
    }
    stack.remount();
    CHECK(mtime_ns(stack("f")) == -1);
    CHECK(atime_ns(stack("d")) == -4'999'999'999);
  });
}

TEST_CASE("writes and changes of names move mtime and ctime as POSIX says", "[attribute]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "1"), file("d/g", "2"), file("e/h")}).upper();
    stack.mount(system);
    const std::int64_t old = nanoseconds(kOldTime);
    const auto directory_changes = [&](const std::string& name) {
      const bool changed = mtime_ns(stack(name)) != old;
      CHECK(call::utimens(stack(name), kOldTime, kOldTime) == "ok");
      return changed;
    };
    (void)directory_changes("d");
    (void)directory_changes("e");
    const std::int64_t before = ctime_ns(stack("d/f"));
    let_clock_tick();
    REQUIRE(call::append(stack("d/f"), "+") == "ok");
    CHECK(mtime_ns(stack("d/f")) != old);
    CHECK(ctime_ns(stack("d/f")) > before);
    CHECK_FALSE(directory_changes("d"));
    REQUIRE(call::chmod(stack("d/g"), 0600) == "ok");
    CHECK(mtime_ns(stack("d/g")) == old);
    CHECK_FALSE(directory_changes("d"));
    REQUIRE(call::rename(stack("d/g"), stack("e/g")) == "ok");
    CHECK(mtime_ns(stack("e/g")) == old);
    CHECK(directory_changes("d"));
    CHECK(directory_changes("e"));
    REQUIRE(call::link(stack("e/g"), stack("e/i")) == "ok");
    CHECK(directory_changes("e"));
    REQUIRE(call::unlink(stack("e/g")) == "ok");
    CHECK(directory_changes("e"));
    REQUIRE(call::mkdir(stack("e/k")) == "ok");
    CHECK(directory_changes("e"));
    REQUIRE(call::truncate(stack("e/h"), 0) == "ok");
    CHECK_FALSE(directory_changes("e"));
  });
}

TEST_CASE("umask applies to everything that is created", "[attribute]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({dir("d"), file("d/w")}).upper();
    stack.mount(system);
    REQUIRE(call::unlink(stack("d/w")) == "ok");
    const mode_t before = ::umask(027);
    CHECK(call::create(stack("d/f"), "", 0666) == "ok");
    CHECK(call::create(stack("d/w"), "", 0777) == "ok");
    CHECK(call::mkdir(stack("d/s"), 0777) == "ok");
    CHECK(call::mknod(stack("d/p"), S_IFIFO | 0666) == "ok");
    ::umask(0);
    CHECK(call::create(stack("d/g"), "", 0666) == "ok");
    CHECK(call::mkdir(stack("d/t"), 01777) == "ok");
    ::umask(before);
    stack.remount();
    CHECK(permissions(stack("d/f")) == 0640);
    CHECK(permissions(stack("d/w")) == 0750);
    CHECK(permissions(stack("d/s")) == 0750);
    CHECK(permissions(stack("d/p")) == 0640);
    CHECK(permissions(stack("d/g")) == 0666);
    CHECK(permissions(stack("d/t")) == 01777);
  });
}

TEST_CASE("a file can be created, filled and changed whatever its mode", "[attribute]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("low", "1").with_mode(0600)}).upper();
    stack.mount(system);
    File made(stack("f"), O_WRONLY | O_CREAT | O_EXCL, 0000);
    CHECK(made.opened() == "ok");
    CHECK(made.write("text") == "ok");
    File open(stack("low"), O_RDWR);
    CHECK(call::chmod(stack("low"), 0000) == "ok");
    CHECK(open.pwrite("22", 0) == "ok");
    CHECK(open.pread(0, 2) == "22");
    CHECK(call::mkdir(stack("d"), 0555) == "ok");
    CHECK(call::rename(stack("low"), stack("low2")) == "ok");
    for (const char* name : {"f", "low2"}) {
      CHECK(permissions(stack(name)) == 0);
      CHECK(call::chmod(stack(name), 0600) == "ok");
    }
    CHECK(content(stack("f")) == "text");
    CHECK(content(stack("low2")) == "22");
    CHECK(permissions(stack("d")) == 0555);
  });
}

TEST_CASE("a setgid directory gives its group, and directories the bit", "[attribute][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: chown");
    }
    Stack stack = Stack{}
                      .lower({dir("low").with_owner(kUser, kGroup).with_mode(02777),
                              file("low/w").with_owner(kUser, kGroup)})
                      .upper({dir("up").with_owner(kUser, kGroup).with_mode(02777)});
    stack.mount(system);
    REQUIRE(call::unlink(stack("low/w")) == "ok");
    for (const std::string at : {"low/", "up/"}) {
      const std::string result = as_user(kStranger, kStranger, [&]() -> std::string {
        ::umask(0);
        return joined({call::create(stack(at + "f"), "", 02755), call::mkdir(stack(at + "s"), 0755),
                       call::create(stack(at + "w"), "", 0644), call::symlink("x", stack(at + "l")),
                       call::mknod(stack(at + "p"), S_IFIFO | 0644)});
      });
      CHECK(result == "ok ok ok ok ok");
      for (const char* name : {"f", "s", "w", "l", "p"}) {
        INFO(at << name);
        CHECK(status(stack(at + name)).st_uid == kStranger);
        CHECK(status(stack(at + name)).st_gid == kGroup);
      }
      CHECK(permissions(stack(at + "f")) == 0755);  // not a member: no setgid file
      CHECK(permissions(stack(at + "s")) == 02755);
    }
  });
}

TEST_CASE("what a user makes belongs to that user", "[attribute][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: other users");
    }
    Stack stack = Stack{}.lower({dir("d").with_mode(0777), file("d/w")}).upper();
    stack.mount(system);
    REQUIRE(call::unlink(stack("d/w")) == "ok");
    const std::string result = as_user(kUser, kGroup, [&]() -> std::string {
      return joined({call::create(stack("d/f"), "1"), call::mkdir(stack("d/s")),
                     call::create(stack("d/w"), "2"), call::create(stack("d/s/x"), "3"),
                     call::symlink("x", stack("d/l")), call::link(stack("d/f"), stack("d/h"))});
    });
    CHECK(result == "ok ok ok ok ok ok");
    stack.remount();
    for (const char* name : {"d/f", "d/s", "d/w", "d/s/x", "d/l", "d/h"}) {
      CHECK(status(stack(name)).st_uid == kUser);
      CHECK(status(stack(name)).st_gid == kGroup);
    }
  });
}

/// Applies `change` as `uid` to a 06755 file and returns the mode that is left.
template <typename Change>
mode_t mode_after(const System& system, uid_t uid, const Change& change) {
  Stack stack =
      Stack{}.lower({file("f", "0123456789").with_owner(kUser, kGroup).with_mode(06755)}).upper();
  stack.mount(system);
  const auto body = [&]() -> std::string { return change(stack("f")); };
  CHECK((uid == 0 ? body() : as_user(uid, kGroup, body)) == "ok");
  const mode_t mode = permissions(stack("f"));
  stack.remount();
  CHECK(permissions(stack("f")) == mode);
  return mode;
}

TEST_CASE("write, truncate and chown clear setuid and setgid as Linux does", "[attribute][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: other users");
    }
    const auto write = [](const std::string& path) { return call::append(path, "+"); };
    const auto rewrite = [](const std::string& path) {
      File target(path, O_RDWR);
      const std::string first = target.pwrite("a", 0);
      return first == "ok" ? target.pwrite("b", 1) : first;
    };
    const auto truncate = [](const std::string& path) { return call::truncate(path, 3); };
    const auto cut_by_open = [](const std::string& path) { return call::overwrite(path, ""); };
    const auto allocate = [](const std::string& path) {
      const File target(path, O_RDWR);
      return outcome(::fallocate(target.fd(), 0, 0, 100));
    };
    const auto chown = [](const std::string& path) { return call::chown(path, kUser, kGroup); };
    const auto give = [](const std::string& path) { return call::chown(path, 1, 1); };
    const auto touch = [](const std::string& path) { return call::utimens(path, {1, 1}, {1, 1}); };
    CHECK(mode_after(system, kUser, write) == 0755);
    CHECK(mode_after(system, kUser, rewrite) == 0755);
    CHECK(mode_after(system, kUser, truncate) == 0755);
    CHECK(mode_after(system, kUser, cut_by_open) == 0755);
    CHECK(mode_after(system, kUser, allocate) == 0755);
    CHECK(mode_after(system, kUser, chown) == 0755);
    CHECK(mode_after(system, kUser, touch) == 06755);
    CHECK(mode_after(system, 0, write) == 06755);
    CHECK(mode_after(system, 0, truncate) == 06755);
    CHECK(mode_after(system, 0, cut_by_open) == 06755);
    CHECK(mode_after(system, 0, give) == 0755);
    CHECK(mode_after(system, 0, touch) == 06755);
  });
}

TEST_CASE("write, truncate and chown remove capabilities, chmod and utimens do not",
          "[attribute][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: security.capability");
    }
    Items items;
    for (const char* name : {"write", "truncate", "open", "chown", "chmod", "utimens"}) {
      items.push_back(file(name, "0123").with_xattr(kCapability, file_capability()));
    }
    Stack stack = Stack{}.lower(items).upper();
    stack.mount(system);
    CHECK(call::append(stack("write"), "+") == "ok");
    CHECK(call::truncate(stack("truncate"), 1) == "ok");
    CHECK(call::overwrite(stack("open"), "") == "ok");
    CHECK(call::chown(stack("chown"), 1, 1) == "ok");
    CHECK(call::chmod(stack("chmod"), 0700) == "ok");
    CHECK(call::utimens(stack("utimens"), {1, 1}, {1, 1}) == "ok");
    const auto check = [&] {
      for (const char* name : {"write", "truncate", "open", "chown"}) {
        INFO(name);
        CHECK(xattr(stack(name), kCapability) == "<ENODATA>");
      }
      CHECK(xattr(stack("chmod"), kCapability) == file_capability());
      CHECK(xattr(stack("utimens"), kCapability) == file_capability());
    };
    check();
    stack.remount();
    check();
    CHECK(call::setxattr(stack("write"), kCapability, file_capability()) == "ok");
    CHECK(xattr(stack("write"), kCapability) == file_capability());
    CHECK(call::append(stack("write"), "+") == "ok");
    CHECK(xattr(stack("write"), kCapability) == "<ENODATA>");
  });
}

TEST_CASE("a new file has no capability until it gets one, and loses it by a write",
          "[attribute][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: security.capability");
    }
    Stack stack =
        Stack{}.lower({file("gone", "1").with_xattr(kCapability, file_capability())}).upper();
    stack.mount(system);
    CHECK(call::unlink(stack("gone")) == "ok");
    for (const char* name : {"new", "gone"}) {
      INFO(name);
      const std::string path = stack(name);
      CHECK(call::create(path, "1") == "ok");
      CHECK(xattr(path, kCapability) == "<ENODATA>");
      CHECK(call::setxattr(path, kCapability, file_capability()) == "ok");
      CHECK(xattr(path, kCapability) == file_capability());
      CHECK(call::append(path, "+") == "ok");
      CHECK(xattr(path, kCapability) == "<ENODATA>");
      CHECK(call::setxattr(path, kCapability, file_capability()) == "ok");
    }
    CHECK(call::rename(stack("new"), stack("moved")) == "ok");
    stack.remount();
    CHECK(xattr(stack("gone"), kCapability) == file_capability());
    CHECK(xattr(stack("moved"), kCapability) == file_capability());
  });
}

}  // namespace
}  // namespace plyfs::tests
