// Mounts without an upper, or asked to be read-only, change nothing and say EROFS.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attributes.h"
#include "stack.h"

namespace plyfs::tests {
namespace {

void refuse_everything(const Stack& stack) {
  const auto at = [&](const std::string& name) { return stack(name); };
  for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_TRUNC}) {
    CHECK(call::open(at("f"), flags) == "EROFS");
  }
  CHECK(call::open(at("new"), O_RDWR | O_CREAT) == "EROFS");
  CHECK(call::open(at("d"), O_TMPFILE | O_RDWR) == "EROFS");
  CHECK(call::open(at("f"), O_RDONLY | O_CREAT) == "ok");
  CHECK(call::unlink(at("f")) == "EROFS");
  CHECK(call::unlink(at("d/x")) == "EROFS");
  CHECK(call::rmdir(at("e")) == "EROFS");
  CHECK(call::mkdir(at("new")) == "EROFS");
  CHECK(call::mkdir(at("d/new")) == "EROFS");
  CHECK(call::mkdir(at("d")) == "EEXIST");
  CHECK(call::symlink("x", at("new")) == "EROFS");
  CHECK(call::link(at("f"), at("new")) == "EROFS");
  CHECK(call::mknod(at("new"), S_IFIFO | 0600) == "EROFS");
  CHECK(call::rename(at("f"), at("new")) == "EROFS");
  CHECK(call::rename(at("f"), at("g")) == "EROFS");
  CHECK(call::rename(at("d"), at("d2")) == "EROFS");
  CHECK(call::chmod(at("f"), 0600) == "EROFS");
  CHECK(call::chown(at("f"), ::getuid(), ::getgid()) == "EROFS");
  CHECK(call::chown(at("l"), ::getuid(), ::getgid()) == "EROFS");
  CHECK(call::truncate(at("f"), 0) == "EROFS");
  CHECK(call::utimens(at("f"), {1, 1}, {1, 1}) == "EROFS");
  CHECK(call::setxattr(at("f"), "user.k", "v") == "EROFS");
  CHECK(call::setxattr(at("d"), "user.k", "v") == "EROFS");
  CHECK(call::removexattr(at("f"), "user.old") == "EROFS");
  CHECK(call::setxattr(at("f"), kAccessAcl, acl_for_user(6, 1, 4, 4, 4, 4)) == "EROFS");
  CHECK(call::access(at("f"), W_OK) == "EROFS");
  CHECK(call::access(at("f"), R_OK) == "ok");
  const File handle(at("f"), O_RDONLY);
  CHECK(outcome(::fchmod(handle.fd(), 0600)) == "EROFS");
  CHECK(outcome(::fsync(handle.fd())) == "ok");
}

const Items kTop = {file("f", "1").with_xattr("user.old", "v"), file("d/x", "2"), dir("e"),
                    symlink("l", "f"), whiteout("gone")};
const Items kBottom = {file("g", "3"), file("d/y", "4"), file("gone")};
const Picture kShown = {"d/", "d/x=2", "d/y=4", "e/", "f=1", "g=3", "l->f"};

TEST_CASE("a mount without an upper refuses every change with EROFS", "[readonly]") {
  on(unions(), [](const System& system) {
    Stack stack = Stack{}.lower(kTop).lower(kBottom);
    System plain_options = system;
    if (system.is_kernel()) {
      plain_options.options = is_root() ? "" : "userxattr";  // the others want an upper
    }
    stack.mount(plain_options);
    CHECK(picture(stack()) == kShown);
    refuse_everything(stack);
    CHECK(picture(stack()) == kShown);
  });
}

TEST_CASE("ro refuses every change although there is an upper", "[readonly]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower(kTop).lower(kBottom).upper({file("u", "5"), whiteout("g")});
    stack.mount(system, "ro");
    const Picture expected = {"d/", "d/x=2", "d/y=4", "e/", "f=1", "l->f", "u=5"};
    CHECK(picture(stack()) == expected);
    refuse_everything(stack);
    CHECK(call::append(stack("u"), "+") == "EROFS");
    CHECK(call::create(stack("g")) == "EROFS");
    CHECK(picture(stack()) == expected);
    CHECK(stack.upper_picture() == Picture{"g (whiteout)", "u=5"});
  });
}

TEST_CASE("one layer alone can be mounted read-only", "[readonly]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1").with_xattr("user.old", "v"), file("d/x"), dir("e"),
                                 symlink("l", "f"), file("g")});
    stack.mount(system);
    refuse_everything(stack);
    CHECK(picture(stack()) == Picture{"d/", "d/x=", "e/", "f=1", "g=", "l->f"});
  });
}

std::string accessed(const std::string& path) {
  struct stat found {};
  REQUIRE(::lstat(path.c_str(), &found) == 0);
  return std::to_string(found.st_atim.tv_sec) + '.' + std::to_string(found.st_atim.tv_nsec);
}

TEST_CASE("reading leaves no trace in the layers below", "[readonly]") {
  on(unions(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "1"), file("d/up", "2"), file("probe", "3")}).upper();
    stack.build(system);
    const std::vector<std::string> objects = {"", "d", "d/f", "d/up", "probe"};
    // Older than the last change: then relatime wants it updated.
    const timespec times[2] = {{1'000'000'000, 0}, {0, UTIME_OMIT}};
    for (const std::string& object : objects) {
      REQUIRE(outcome(::utimensat(AT_FDCWD, stack.lower_path(0, object).c_str(), times, 0)) ==
              "ok");
    }
    CHECK(content(stack.lower_path(0, "probe")) == "3");
    if (accessed(stack.lower_path(0, "probe")) == "1000000000.0") {
      return skip("the filesystem of the layers keeps no times of access");
    }
    stack.mount(system);
    CHECK(sorted_names_in(stack()) == std::vector<std::string>{"d", "probe"});
    CHECK(sorted_names_in(stack("d")) == std::vector<std::string>{"f", "up"});
    CHECK(content(stack("d/f")) == "1");
    CHECK(call::append(stack("d/up"), "+") == "ok");
    stack.unmount();
    for (const char* const object : {"", "d", "d/f", "d/up"}) {
      CAPTURE(object);
      CHECK(accessed(stack.lower_path(0, object)) == "1000000000.0");
    }
  });
}

}  // namespace
}  // namespace plyfs::tests
