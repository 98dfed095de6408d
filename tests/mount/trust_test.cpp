// Marks that an ordinary user can write, in layers that root mounts for everybody; and marks that
// somebody else can write, in layers that a user mounts.
#include <sys/stat.h>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr uid_t kAttacker = 1234;
constexpr uid_t kStranger = 5678;
const std::string kZeros(4096, '\0');

/// What the attacker puts above what is root's.
Items forged() {
  return {
      file("x")
          .with_size(4096)
          .with_owner(kAttacker, kAttacker)
          .with_xattr("user.overlay.metacopy", "")
          .with_xattr("user.overlay.redirect", "/shadow"),
      dir("open").with_owner(kAttacker, kAttacker).with_xattr("user.overlay.redirect", "/secret"),
      opaque("veil", "user.overlay.opaque"),
      opaque("cover", "user.fuseoverlayfs.opaque"),
      dir("marked").with_xattr("user.overlay.opaque", "x"),
      file("marked/gone").with_owner(kAttacker, kAttacker).with_xattr("user.overlay.whiteout", "")};
}

Items of_root() {
  return {file("shadow", "root:x:" + std::string(4089, 'x')).with_mode(0600),
          dir("secret").with_mode(0700),
          file("secret/key", "k"),
          file("veil/seen", "s"),
          file("cover/seen", "s"),
          file("marked/gone", "below")};
}

std::string seen_by_stranger(const Stack& stack) {
  return as_user(kStranger, kStranger, [&] {
    const std::string x = content(stack("x"));
    return joined({x == kZeros ? "zeros" : x.substr(0, 7), joined(sorted_names_in(stack("open"))),
                   content(stack("open/key")), content(stack("veil/seen")),
                   content(stack("cover/seen")), "'" + content(stack("marked/gone")) + "'"});
  });
}

constexpr const char* kNothingFollowed = "zeros  <ENOENT> s s ''";

TEST_CASE("root's mount follows no mark that an ordinary user can write", "[trust][root]") {
  on(unions(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: it mounts over what others wrote");
    }
    for (const bool in_upper : {false, true}) {
      for (const char* options : {"", "redirect_dir=off,metacopy=off", "xattr=trusted"}) {
        if (system.is_kernel() && *options != '\0') {
          continue;
        }
        CAPTURE(in_upper, options);
        Stack stack = in_upper ? Stack{}.lower(of_root()).upper(forged())
                               : Stack{}.lower(forged()).lower(of_root()).upper();
        stack.mount(system, options);
        CHECK(seen_by_stranger(stack) == kNothingFollowed);
        // A change does not turn them into marks that are believed.
        CHECK(call::chmod(stack("open"), 0755) == "ok");
        CHECK(call::append(stack("x"), "") == "ok");
        CHECK(call::rename(stack("veil"), stack("veiled")) == (options[0] == 'r' ? "EXDEV" : "ok"));
        stack.remount();
        CHECK(seen_by_stranger(stack).starts_with("zeros  <ENOENT>"));
      }
    }
  });
}

TEST_CASE("what root reads at rest is what root's mount shows", "[trust][dump][root]") {
  if (!is_root()) {
    return skip("needs root: it reads what others wrote");
  }
  Stack stack = Stack{}.lower(forged()).lower(of_root()).upper();
  System at_rest;
  at_rest.kind = System::Kind::kPlyfs;
  stack.build(at_rest);
  const auto told = [&](const std::string& more) {
    return run({plyfs_program() + "-dump", "-o", stack.layer_options() + more, "snapshot"});
  };
  const Ran plain = told("");
  CAPTURE(plain.out, plain.err);
  CHECK(plain.exit_code == 0);
  CHECK(plain.out.find("/open/key") == std::string::npos);
  CHECK(plain.out.find("/veil/seen\t2\tseen") != std::string::npos);
  CHECK(plain.err.find("userxattr") != std::string::npos);
  const Ran asked = told(",userxattr");
  CAPTURE(asked.out, asked.err);
  CHECK(asked.out.find("/veil/seen\t2\thidden") != std::string::npos);
  CHECK(asked.out.find("/x\t-\terror\tOperation not permitted") != std::string::npos);
  CHECK(asked.out.find("/open/key") == std::string::npos);
}

TEST_CASE("root's mount with userxattr follows the marks of who could read it himself",
          "[trust][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: it mounts over what others wrote");
    }
    Items top = forged();
    for (Item& item : Items{file("own")
                                .with_size(4096)
                                .with_xattr("user.overlay.metacopy", "")
                                .with_xattr("user.overlay.redirect", "/shadow"),
                            dir("mine").with_xattr("user.overlay.redirect", "/secret"),
                            file("public")
                                .with_size(4096)
                                .with_owner(kAttacker, kAttacker)
                                .with_xattr("user.overlay.metacopy", "")
                                .with_xattr("user.overlay.redirect", "/readable"),
                            file("shared")
                                .with_size(4096)
                                .with_mode(0666)
                                .with_xattr("user.overlay.metacopy", "")
                                .with_xattr("user.overlay.redirect", "/shadow")}) {
      top.push_back(std::move(item));
    }
    Items bottom = of_root();
    bottom.push_back(file("readable", std::string(4096, 'r')));
    Stack stack = Stack{}.lower(top).lower(bottom).upper();
    REQUIRE(::chmod(workspace().c_str(), 0755) == 0);  // others reach the layers
    stack.mount(system, "userxattr");
    CHECK(as_user(kStranger, kStranger, [&] {
            return joined({content(stack("x")), content(stack("open/key")),
                           content(stack("own")).substr(0, 7), content(stack("mine/key")),
                           content(stack("public")).substr(0, 3), content(stack("shared")),
                           content(stack("veil/seen")), content(stack("marked/gone"))});
          }) == "<EPERM> <EPERM> root:x: k rrr <EPERM> <ENOENT> <ENOENT>");
    stack.unmount();
    REQUIRE(::chmod(workspace().c_str(), 0700) == 0);  // nobody but root
    stack.mount(system, "userxattr");
    CHECK(content(stack("x")).substr(0, 7) == "root:x:");
    CHECK(call::chmod(stack("readable"), 0600) == "ok");
    CHECK(stack.upper_picture().size() == 1);
    CHECK(stack.upper_picture()[0].find("metacopy") == std::string::npos);
    REQUIRE(::chmod(workspace().c_str(), 0755) == 0);
  });
}

TEST_CASE("a user's mount leaves no mark that it would not believe", "[trust]") {
  on(plyfs_only(), [](const System& system) {
    if (is_root()) {
      return skip("needs an ordinary user, whose marks are in user.*");
    }
    struct stat before {};
    REQUIRE(::stat(workspace().c_str(), &before) == 0);
    const std::string data(4096, 'd');
    Stack stack =
        Stack{}
            .lower({file("kept", data).with_mode(0600), file("given", data).with_mode(0600),
                    file("late", data).with_mode(0600), file("everybody", data).with_mode(0666),
                    file("everybodys/f", data), dir("everybodys").with_mode(0777),
                    file("own/f", data).with_mode(0600), file("moved/f", "m"),
                    dir("moved").with_mode(0755)})
            .upper();
    REQUIRE(::chmod(workspace().c_str(), 0755) == 0);
    if (!takes_user_xattrs(workspace())) {
      return skip("the workspace's filesystem has no user.* xattrs");
    }
    stack.mount(system);
    CHECK(call::chmod(stack("kept"), 0644) == "ok");
    CHECK(call::chmod(stack("given"), 0666) == "ok");
    CHECK(call::chmod(stack("late"), 0640) == "ok");
    CHECK(call::chmod(stack("late"), 0646) == "ok");
    CHECK(call::chmod(stack("everybody"), 0644) == "ok");
    CHECK(call::rename(stack("everybodys"), stack("new")) == "EXDEV");
    CHECK(call::rename(stack("moved"), stack("there")) == "ok");
    CHECK(call::chmod(stack("there"), 0777) == "EPERM");
    CHECK(call::chmod(stack("there"), 0700) == "ok");
    stack.remount();
    for (const char* name : {"kept", "given", "late", "everybody", "everybodys/f"}) {
      CAPTURE(name);
      CHECK(content(stack(name)) == data);
    }
    CHECK(content(stack("there/f")) == "m");
    stack.unmount();
    std::string metacopies;
    for (const std::string& line : stack.upper_picture()) {
      metacopies += line.find("metacopy") != std::string::npos ? line.substr(0, 4) : "";
    }
    CHECK(metacopies == "kept");
    REQUIRE(::chmod(workspace().c_str(), before.st_mode & 07777) == 0);
  });
}

TEST_CASE("convert does not make root's marks of a user's", "[trust][root]") {
  if (!is_root()) {
    return skip("needs root: it converts what others wrote");
  }
  const std::string place = fresh_directory();
  make_tree(place, {dir("l")}, overlay_prefix());
  make_tree(place + "/l", forged(), overlay_prefix());
  const Ran ran =
      run({plyfs_program(), "convert", place + "/l", "--to", "overlay", place + "/out"});
  CAPTURE(ran.out, ran.err);
  CHECK(ran.exit_code != 0);
  CHECK(ran.err.find("Operation not permitted") != std::string::npos);
  CHECK_FALSE(exists(place + "/out"));
  remove_tree(place);
}

}  // namespace
}  // namespace plyfs::tests
