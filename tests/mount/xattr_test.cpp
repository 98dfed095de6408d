// Extended attributes: the calls, and that nobody reaches the union's own through them.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "stack.h"

namespace plyfs::tests {
namespace {

using Names = std::vector<std::string>;

Systems all_systems() {
  Systems systems = every_union();
  systems.insert(systems.begin(), posix_systems().front());
  return systems;
}

TEST_CASE("xattrs are set, replaced, listed and removed on files of every layer", "[xattr]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("f", "1").with_xattr("user.old", "lower"),
                              dir("d").with_xattr("user.old", "lower")})
                      .upper({file("u").with_xattr("user.old", "lower")});
    stack.mount(system);
    for (const char* name : {"f", "d", "u"}) {
      INFO(name);
      const std::string path = stack(name);
      CHECK(xattr(path, "user.old") == "lower");
      CHECK(xattr(path, "user.none") == "<ENODATA>");
      CHECK(call::removexattr(path, "user.none") == "ENODATA");
      CHECK(call::setxattr(path, "user.old", "x", XATTR_CREATE) == "EEXIST");
      CHECK(call::setxattr(path, "user.new", "x", XATTR_REPLACE) == "ENODATA");
      CHECK(call::setxattr(path, "user.new", "1", XATTR_CREATE) == "ok");
      CHECK(call::setxattr(path, "user.new", "22", XATTR_REPLACE) == "ok");
      CHECK(call::setxattr(path, "user.empty", "") == "ok");
      CHECK(call::setxattr(path, "user.bytes", std::string("\0\xff\n", 3)) == "ok");
      CHECK(call::removexattr(path, "user.old") == "ok");
      CHECK(xattr(path, "user.old") == "<ENODATA>");
    }
    stack.remount();
    for (const char* name : {"f", "d", "u"}) {
      CHECK(xattr_names(stack(name)) == Names{"user.bytes", "user.empty", "user.new"});
      CHECK(xattr(stack(name), "user.new") == "22");
      CHECK(xattr(stack(name), "user.empty").empty());
      CHECK(xattr(stack(name), "user.bytes") == std::string("\0\xff\n", 3));
    }
  });
}

TEST_CASE("what changes no xattr copies nothing up", "[xattr]") {
  on(every_union(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1").with_xattr("user.k", "v")}).upper();
    stack.mount(system);
    CHECK(xattr(stack("f"), "user.k") == "v");
    CHECK(xattr_names(stack("f")) == Names{"user.k"});
    CHECK(call::removexattr(stack("f"), "user.none") == "ENODATA");
    CHECK(stack.upper_picture() == Picture{});
  });
}

TEST_CASE("sizes are told, and a buffer that is too small is ERANGE", "[xattr]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1").with_xattr("user.k", "value")}).upper();
    stack.mount(system);
    const std::string path = stack("f");
    const char* name = "user.k";
    char small[4] = {};
    CHECK(::lgetxattr(path.c_str(), name, nullptr, 0) == 5);
    CHECK(outcome(::lgetxattr(path.c_str(), name, small, sizeof(small))) == "ERANGE");
    CHECK(::llistxattr(path.c_str(), nullptr, 0) == 7);
    CHECK(outcome(::llistxattr(path.c_str(), small, sizeof(small))) == "ERANGE");
    CHECK(call::setxattr(path, "user." + std::string(250, 'n'), "v") == "ok");
    CHECK(xattr(path, "user." + std::string(250, 'n')) == "v");
    CHECK(call::setxattr(path, "user." + std::string(251, 'n'), "v") == "ERANGE");
    CHECK(call::setxattr(path, "", "v") == "ERANGE");
    CHECK(call::setxattr(path, "user.big", std::string(65'537, 'v')) == "E2BIG");
    CHECK(call::setxattr(path, "nonsense.k", "v") == "EOPNOTSUPP");
  });
}

TEST_CASE("a value of 60 KiB comes back, also after copy-up", "[xattr]") {
  const std::string probe = workspace() + "/large-xattr";
  REQUIRE(call::create(probe) == "ok");
  const std::string value = pattern(60 * 1024);
  const bool possible = call::setxattr(probe, "user.large", value) == "ok";
  REQUIRE(call::unlink(probe) == "ok");
  on(all_systems(), [&](const System& system) {
    if (!possible) {
      return skip("needs a filesystem with large xattrs");
    }
    Stack stack = Stack{}.lower({file("f", "1").with_xattr("user.large", value)}).upper();
    stack.mount(system);
    CHECK((xattr(stack("f"), "user.large") == value));
    REQUIRE(call::append(stack("f"), "+") == "ok");
    REQUIRE(call::create(stack("new")) == "ok");
    REQUIRE(call::setxattr(stack("new"), "user.large", value) == "ok");
    stack.remount();
    CHECK((xattr(stack("f"), "user.large") == value));
    CHECK((xattr(stack("new"), "user.large") == value));
  });
}

TEST_CASE("user xattrs are refused on symlinks and special files", "[xattr]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({symlink("l", "x"), fifo("p"), socket_node("s")}).upper();
    stack.mount(system);
    for (const char* name : {"l", "p", "s"}) {
      INFO(name);
      CHECK(call::setxattr(stack(name), "user.k", "v") == "EPERM");
      CHECK(xattr_names(stack(name)).empty());
    }
  });
}

TEST_CASE("trusted xattrs are root's", "[xattr][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: trusted xattrs");
    }
    Stack stack =
        Stack{}.lower({file("f", "1").with_mode(0666).with_xattr("trusted.old", "1")}).upper();
    stack.mount(system);
    CHECK(xattr(stack("f"), "trusted.old") == "1");
    CHECK(call::setxattr(stack("f"), "trusted.k", "v") == "ok");
    stack.remount();
    CHECK(xattr_names(stack("f")) == Names{"trusted.k", "trusted.old"});
    CHECK(as_user(1234, 1234, [&] { return xattr(stack("f"), "trusted.k"); }) == "<ENODATA>");
    CHECK(as_user(1234, 1234, [&] { return call::setxattr(stack("f"), "trusted.k", "x"); }) ==
          "EPERM");
    if (system.is_kernel()) {  // a FUSE server cannot tell who lists; btrfs lists all to all
      CHECK(as_user(1234, 1234, [&] { return std::to_string(xattr_names(stack("f")).size()); }) ==
            "0");
    }
  });
}

TEST_CASE("the union's own xattrs do not show", "[xattr]") {
  on(every_union(), [](const System& system) {
    const std::string prefix = overlay_prefix();
    Stack stack = Stack{}
                      .lower({opaque("o"), file("o/x"), file("m", pattern(5000)), dir("d"),
                              xattr_whiteout("w/w"), file("w/x")})
                      .lower({file("o/y"), file("d/z")})
                      .upper();
    stack.mount(system);
    REQUIRE(call::chmod(stack("m"), 0600) == "ok");
    if (system.redirect) {
      REQUIRE(call::rename(stack("d"), stack("d2")) == "ok");
    }
    REQUIRE(call::append(stack("o/x"), "+") == "ok");
    const bool own_error = system.is_kernel() && !overlayfs_escapes_marks();
    const std::string not_there = own_error ? "<EOPNOTSUPP>" : "<ENODATA>";
    const auto check = [&] {
      for (const std::string name : {"", "o", "m", system.redirect ? "d2" : "d", "w", "o/x"}) {
        INFO("name: " << name);
        CHECK(xattr_names(stack(name)).empty());
        for (const char* mark : {"opaque", "redirect", "metacopy", "origin", "impure"}) {
          CHECK(xattr(stack(name), prefix + mark) == not_there);
        }
      }
    };
    check();
    stack.remount();
    check();
  });
}

constexpr const char* kNoEscapes = "kernel: needs an overlayfs with escaped marks (Linux 6.7)";
bool lacks_escapes(const System& system) {
  return system.is_kernel() && !overlayfs_escapes_marks();
}

std::vector<std::string> marks_to_plant(const System& system) {
  std::vector<std::string> prefixes = {overlay_prefix()};
  if (system.is_plyfs() && is_root()) {
    prefixes.emplace_back("user.overlay.");
  }
  std::vector<std::string> marks;
  for (const std::string& prefix : prefixes) {
    for (const char* name : {"opaque", "whiteout", "redirect", "metacopy", "origin"}) {
      marks.push_back(prefix + name);
    }
  }
  if (system.is_plyfs()) {
    marks.emplace_back("user.fuseoverlayfs.opaque");
  }
  std::sort(marks.begin(), marks.end());
  return marks;
}

TEST_CASE("marks that users set are kept for them and change nothing", "[xattr]") {
  on(every_union(), [](const System& system) {
    if (lacks_escapes(system)) {
      return skip(kNoEscapes);
    }
    const std::vector<std::string> marks = marks_to_plant(system);
    Stack stack = Stack{}.lower({file("d/x", "1"), file("f", "2"), file("empty")}).upper();
    stack.mount(system);
    const Picture before = picture(stack());
    for (const char* name : {"d", "f", "empty"}) {
      for (const std::string& mark : marks) {
        INFO(name << " " << mark);
        CHECK(call::setxattr(stack(name), mark, "y") == "ok");
        CHECK(xattr(stack(name), mark) == "y");
        CHECK(call::setxattr(stack(name), mark, "y", XATTR_CREATE) == "EEXIST");
      }
      CHECK(xattr_names(stack(name)) == marks);
    }
    CHECK(picture(stack()) == before);
    stack.remount();
    CHECK(picture(stack()) == before);
    for (const char* name : {"d", "f", "empty"}) {
      CHECK(xattr_names(stack(name)) == marks);
      for (const std::string& mark : marks) {
        CHECK(xattr(stack(name), mark) == "y");
        CHECK(call::removexattr(stack(name), mark) == "ok");
      }
      CHECK(xattr_names(stack(name)).empty());
    }
    CHECK(picture(stack()) == before);
  });
}

TEST_CASE("escaped marks of a layer show unescaped, one level less", "[xattr]") {
  on(every_union(), [](const System& system) {
    if (lacks_escapes(system)) {
      return skip(kNoEscapes);
    }
    const std::string prefix = overlay_prefix();
    Stack stack = Stack{}
                      .lower({dir("d").with_xattr(prefix + "overlay.opaque", "y"),
                              file("f", "1").with_xattr(prefix + "overlay.overlay.k", "z")})
                      .lower({file("d/below", "2")})
                      .upper();
    stack.mount(system);
    CHECK(picture(stack()) == Picture{"d/", "d/below=2", "f=1"});
    CHECK(xattr_names(stack("d")) == Names{prefix + "opaque"});
    CHECK(xattr(stack("d"), prefix + "opaque") == "y");
    CHECK(xattr_names(stack("f")) == Names{prefix + "overlay.k"});
    REQUIRE(call::append(stack("f"), "+") == "ok");
    REQUIRE(call::create(stack("d/new")) == "ok");
    stack.remount();
    CHECK(xattr(stack("f"), prefix + "overlay.k") == "z");
    CHECK(xattr(stack("d"), prefix + "opaque") == "y");
    CHECK(picture(stack()) == Picture{"d/", "d/below=2", "d/new=", "f=1+"});
  });
}

}  // namespace
}  // namespace plyfs::tests
