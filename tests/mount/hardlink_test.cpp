// Hard links of lower files stay links, counts are right, and numbers never change.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stack.h"

namespace plyfs::tests {
namespace {

/// Lower hard links stay linked on these. A kernel without index=on breaks them, as documented.
Systems with_index() {
  Systems systems = every_union();
  systems.push_back(posix_systems().front());
  std::erase_if(systems, [](const System& system) { return !system.index; });
  return systems;
}

void forget_caches() {
  if (is_root()) {
    drop_caches();
  }
}

TEST_CASE("a write through one hard link is seen through the others", "[hardlink]") {
  on(with_index(), [](const System& system) {
    Stack stack = Stack{}.lower({file("a", "1"), hardlink("b", "a"), hardlink("d/c", "a")}).upper();
    stack.mount(system);
    const ino_t number = status(stack("a")).st_ino;
    REQUIRE(call::append(stack("b"), "+") == "ok");
    const auto check = [&] {
      for (const char* name : {"a", "b", "d/c"}) {
        INFO(name);
        CHECK(content(stack(name)) == "1+");
        CHECK(status(stack(name)).st_nlink == 3);
        CHECK(status(stack(name)).st_ino == number);
      }
    };
    check();
    forget_caches();
    check();
    stack.remount();
    check();
    REQUIRE(call::append(stack("d/c"), "*") == "ok");
    CHECK(content(stack("a")) == "1+*");
    CHECK(content(stack("b")) == "1+*");
  });
}

TEST_CASE("metadata of hard links is one", "[hardlink]") {
  on(with_index(), [](const System& system) {
    Stack stack = Stack{}.lower({file("a", "1"), hardlink("b", "a")}).upper();
    stack.mount(system);
    REQUIRE(call::chmod(stack("a"), 0600) == "ok");
    REQUIRE(call::setxattr(stack("b"), "user.k", "v") == "ok");
    forget_caches();
    const auto check = [&] {
      CHECK(permissions(stack("b")) == 0600);
      CHECK(xattr(stack("a"), "user.k") == "v");
      CHECK(status(stack("a")).st_ino == status(stack("b")).st_ino);
    };
    check();
    stack.remount();
    check();
  });
}

TEST_CASE("st_nlink follows unlink, link and rename of lower hard links", "[hardlink]") {
  on(with_index(), [](const System& system) {
    Stack stack =
        Stack{}.lower({file("a", "1"), hardlink("b", "a"), hardlink("c", "a"), file("x")}).upper();
    stack.mount(system);
    const File open(stack("c"), O_RDONLY);
    REQUIRE(call::unlink(stack("a")) == "ok");
    CHECK(status(stack("b")).st_nlink == 2);
    forget_caches();
    CHECK(status(stack("c")).st_nlink == 2);
    REQUIRE(call::link(stack("b"), stack("n1")) == "ok");
    REQUIRE(call::link(stack("n1"), stack("n2")) == "ok");
    CHECK(status(stack("c")).st_nlink == 4);
    CHECK(open.stat().st_nlink == 4);

    REQUIRE(call::rename(stack("x"), stack("n2")) == "ok");
    CHECK(status(stack("b")).st_nlink == 3);
    forget_caches();
    CHECK(status(stack("n1")).st_nlink == 3);
    REQUIRE(call::append(stack("n1"), "+") == "ok");
    CHECK(content(stack("b")) == "1+");
    CHECK(content(stack("c")) == "1+");
    for (const char* name : {"b", "c"}) {
      REQUIRE(call::unlink(stack(name)) == "ok");
    }
    CHECK(status(stack("n1")).st_nlink == 1);
    REQUIRE(call::unlink(stack("n1")) == "ok");
    CHECK(open.stat().st_nlink == 0);
  });
}

TEST_CASE("st_nlink of lower hard links survives a remount", "[hardlink]") {
  on(with_index(), [](const System& system) {
    Stack stack = Stack{}.lower({file("a", "1"), hardlink("b", "a"), hardlink("c", "a")}).upper();
    stack.mount(system);
    REQUIRE(call::unlink(stack("a")) == "ok");
    REQUIRE(call::link(stack("b"), stack("n")) == "ok");
    REQUIRE(call::link(stack("b"), stack("m")) == "ok");
    stack.remount();
    for (const char* name : {"b", "c", "n", "m"}) {
      INFO(name);
      CHECK(status(stack(name)).st_nlink == 4);
      CHECK(status(stack(name)).st_ino == status(stack("b")).st_ino);
    }
    REQUIRE(call::append(stack("c"), "+") == "ok");
    stack.remount();
    for (const char* name : {"b", "c", "n", "m"}) {
      CHECK(content(stack(name)) == "1+");
    }
  });
}

TEST_CASE("link and rename between names of one file follow POSIX", "[hardlink]") {
  on(with_index(), [](const System& system) {
    Stack stack = Stack{}.lower({file("a", "1"), hardlink("b", "a"), file("c"), dir("d")}).upper();
    stack.mount(system);
    CHECK(call::link(stack("a"), stack("b")) == "EEXIST");
    CHECK(call::link(stack("d"), stack("e")) == "EPERM");
    CHECK(call::link(stack("nothing"), stack("e")) == "ENOENT");
    CHECK(call::link(stack("a"), stack("nowhere/e")) == "ENOENT");
    CHECK(call::rename(stack("a"), stack("b")) == "ok");  // the same file: nothing happens
    CHECK(picture(stack()) == Picture{"a=1", "b=1", "c=", "d/"});
    CHECK(status(stack("a")).st_nlink == 2);
  });
}

TEST_CASE("a new link of a symlink and of a fifo", "[hardlink]") {
  on(with_index(), [](const System& system) {
    Stack stack = Stack{}.lower({symlink("l", "x"), fifo("p")}).upper();
    stack.mount(system);
    REQUIRE(call::link(stack("l"), stack("l2")) == "ok");
    REQUIRE(call::link(stack("p"), stack("p2")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"l->x", "l2->x", "p2|", "p|"});
    CHECK(status(stack("l")).st_ino == status(stack("l2")).st_ino);
    CHECK(status(stack("p")).st_nlink == 2);
  });
}

TEST_CASE("st_ino is constant across copy-up, rename and remount", "[hardlink][ino]") {
  on(every_union(), [](const System& system) {
    if (system.is_kernel() && !is_root()) {
      return skip("kernel: constant st_ino needs file handles");
    }
    Stack stack = Stack{}
                      .lower({file("data", pattern(10'000)), file("meta"), dir("d"), file("d/x"),
                              symlink("l", "x"), fifo("p"), dir("merged")})
                      .lower({file("merged/low")})
                      .upper({file("new"), file("merged/up")});
    stack.mount(system);
    std::map<std::string, ino_t> numbers;
    for (const char* name : {"data", "meta", "d", "d/x", "l", "p", "merged", "new"}) {
      numbers[name] = status(stack(name)).st_ino;
    }
    REQUIRE(call::append(stack("data"), "+") == "ok");
    REQUIRE(call::chmod(stack("meta"), 0600) == "ok");
    REQUIRE(call::create(stack("d/y")) == "ok");
    REQUIRE(call::utimens(stack("l"), {1, 0}, {1, 0}) == "ok");
    REQUIRE(call::chmod(stack("p"), 0600) == "ok");
    REQUIRE(call::chmod(stack("merged"), 0700) == "ok");
    const auto check = [&] {
      for (const auto& [name, number] : numbers) {
        INFO(name);
        CHECK(status(stack(name)).st_ino == number);
      }
    };
    check();
    const auto move = [&](const std::string& from, const std::string& to) {
      REQUIRE(call::rename(stack(from), stack(to)) == "ok");
      numbers[to] = numbers.at(from);
      numbers.erase(from);
    };
    move("data", "d/moved");
    move("new", "renamed");
    check();
    forget_caches();
    check();
    if (system.redirect) {
      move("merged", "m2");
    }
    if (!is_root()) {  // user xattrs, which tell the origin, do not exist on these
      numbers.erase("l");
      numbers.erase("p");
    }
    stack.remount();
    check();
  });
}

}  // namespace
}  // namespace plyfs::tests
