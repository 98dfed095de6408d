// Layer tars as other tools read them: order, digests, hard links, and the way through skopeo and
// umoci of a user without privileges.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

Ran plyfs(Arguments arguments) {
  arguments.insert(arguments.begin(), plyfs_program());
  return run(arguments);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Ran shell(const std::string& script) { return run({"sh", "-c", script}); }

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
  }
  return lines;
}

System no_mount() {
  System system;
  system.kind = System::Kind::kPlyfs;
  return system;
}

TEST_CASE("marks come before what they lie beside, links after what they are links of", "[image]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("d/old", "1"), file("keep/a"), file("keep/b"), file("a-gone"),
                              file("z-gone")})
                      .upper();
    stack.mount(system);
    CHECK(call::unlink(stack("a-gone")) == "ok");
    CHECK(call::unlink(stack("z-gone")) == "ok");
    CHECK(call::unlink(stack("keep/b")) == "ok");
    CHECK(call::unlink(stack("d/old")) == "ok");
    CHECK(call::rmdir(stack("d")) == "ok");
    CHECK(call::mkdir(stack("d")) == "ok");
    CHECK(call::create(stack("d/.first"), "linked") == "ok");
    CHECK(call::link(stack("d/.first"), stack("d/second")) == "ok");
    CHECK(call::create(stack("keep/.hidden"), "1") == "ok");
    const std::string tar = fresh_directory() + "/layer.tar";
    CHECK(plyfs({"commit", stack(), tar}).exit_code == 0);
    // Some names sort before ".wh.": the marks come first all the same.
    CHECK(lines_of(shell("tar tf '" + tar + "'").out) ==
          std::vector<std::string>{"./", ".wh.a-gone", ".wh.z-gone", "d/", "d/.wh..wh..opq",
                                   "d/.first", "d/second", "keep/", "keep/.wh.b", "keep/.hidden"});
    CHECK(contains(shell("tar tvf '" + tar + "' d/second").out, "link to d/.first"));
  });
}

TEST_CASE("digest, diff-id and size are those of the file, of every kind of tar", "[image]") {
  Stack stack = Stack{}
                    .lower({file("f", "1"), file("gone")})
                    .upper({file("f", std::string(300000, 'x')), whiteout("gone")});
  stack.build(no_mount());
  const std::string room = fresh_directory();
  for (const auto& [end, unpack] : {std::pair<std::string, std::string>{".tar", "cat"},
                                    {".tar.gz", "gzip -dc"},
                                    {".tar.zst", "zstd -qdc"}}) {
    CAPTURE(end);
    const std::string tar = room + "/t" + end;
    const Ran ran = plyfs({"commit", "-o", stack.layer_options(), tar});
    CHECK(ran.exit_code == 0);
    const std::string packed = run({"sha256sum", tar}).out.substr(0, 64);
    const std::string plain = shell(unpack + " '" + tar + "' | sha256sum").out.substr(0, 64);
    CHECK(contains(ran.out, "digest   sha256:" + packed + "\ndiff-id  sha256:" + plain +
                                "\nsize     " + std::to_string(std::filesystem::file_size(tar)) +
                                "\n"));
  }
  remove_tree(room);
}

TEST_CASE("times in tars keep their nanoseconds", "[image]") {
  Stack stack = Stack{}
                    .lower({file("f").with_mtime({1'234'567'890, 987'654'321}),
                            file("before").with_mtime({-5, 250'000'000}), dir("d")})
                    .upper();
  stack.build(no_mount());
  const std::string room = fresh_directory();
  CHECK(plyfs({"flatten", "-o", stack.layer_options(), room + "/t.tar"}).exit_code == 0);
  CHECK(shell("mkdir '" + room + "/x' && tar -C '" + room + "/x' -xf '" + room + "/t.tar'")
            .exit_code == 0);
  for (const char* name : {"/f", "/before"}) {
    CAPTURE(name);
    struct stat drawn {};
    struct stat unpacked {};
    REQUIRE(::stat(stack.lower_path(0, name + 1).c_str(), &drawn) == 0);
    REQUIRE(::stat((room + "/x" + name).c_str(), &unpacked) == 0);
    CHECK(unpacked.st_mtim.tv_sec == drawn.st_mtim.tv_sec);
    CHECK(unpacked.st_mtim.tv_nsec == drawn.st_mtim.tv_nsec);
  }
  remove_tree(room);
}

TEST_CASE("devices, xattrs, long and odd names, and all times come through umoci", "[image]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root() || run({"umoci", "--version"}).exit_code != 0) {
      return skip("needs root and umoci");
    }
    const std::string capability("\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    Stack stack =
        Stack{}
            .lower({file("x/attr", "1")
                        .with_xattr("user.k", std::string("v\0\xff", 3))
                        .with_xattr("security.capability", capability),
                    device("c", S_IFCHR, 5, 1), device("b", S_IFBLK, 7, 300), fifo("p"),
                    file("long/" + std::string(120, 'y') + "/" + std::string(250, 'z') + "/" +
                             std::string(255, 'w'),
                         "deep"),
                    symlink("far", std::string(900, 't')), file("odd \xff\n\t\x1b[31m", "odd"),
                    file("before-1970", "n").with_mtime({-6, 750'000'000}),
                    file("owned", "o").with_owner(3'000'000'000, 2'147'483'653).with_mode(06755),
                    file("h/1", "hard"), hardlink("h/2", "h/1"), hardlink("other", "h/1")})
            .upper();
    stack.mount(system);
    CHECK(call::overwrite(stack("h/1"), "new") == "ok");
    CHECK(call::rename(stack("x"), stack("x2")) == "ok");
    CHECK(call::rename(stack("long"), stack("long2")) == "ok");
    CHECK(call::chmod(stack("before-1970"), 0600) == "ok");
    CHECK(call::link(stack("owned"), stack("owned2")) == "ok");
    CHECK(call::setxattr(stack("owned"), "user.q", "w") == "ok");
    CHECK(call::rename(stack("odd \xff\n\t\x1b[31m"), stack("odd2\xff\n")) == "ok");
    CHECK(call::unlink(stack("c")) == "ok");
    const std::string room = fresh_directory();
    CHECK(plyfs({"flatten", "--lower", stack.lower_path(0), room + "/0.tar"}).exit_code == 0);
    CHECK(plyfs({"commit", stack(), room + "/1.tar"}).exit_code == 0);
    const Ran through = shell("cd '" + room +
                              "' && umoci init --layout oci && umoci new --image oci:test && "
                              "umoci raw add-layer --image oci:test 0.tar && "
                              "umoci raw add-layer --image oci:test 1.tar && "
                              "umoci unpack --image oci:test bundle");
    INFO(through.err);
    REQUIRE(through.exit_code == 0);
    CHECK(difference(dump_without_directory_times(stack()),
                     dump_without_directory_times(room + "/bundle/rootfs")) == "");
    remove_tree(room);
  });
}

/// umoci keeps the owner that a user may not set in an xattr.
void drop_rootless_marks(const std::string& root) {
  (void)::lremovexattr(root.c_str(), "user.rootlesscontainers");
  for (const auto& entry : std::filesystem::recursive_directory_iterator{root}) {
    (void)::lremovexattr(entry.path().c_str(), "user.rootlesscontainers");
  }
}

TEST_CASE("a user without privileges takes layers through skopeo and umoci", "[image]") {
  on(plyfs_only(), [](const System& system) {
    if (is_root() || run({"umoci", "--version"}).exit_code != 0 ||
        run({"skopeo", "--version"}).exit_code != 0) {
      return skip("needs a user without privileges, umoci and skopeo");
    }
    Stack stack = Stack{}
                      .lower({file("a/f", "old"), hardlink("a/same", "a/f"), file("gone"),
                              file("d/hidden"), symlink("ln", "a/f")})
                      .upper();
    const std::string room = fresh_directory();
    stack.mount(system);
    CHECK(plyfs({"flatten", stack(), room + "/0.tar"}).exit_code == 0);
    CHECK(call::overwrite(stack("a/f"), "new") == "ok");
    CHECK(call::rename(stack("a"), stack("moved")) == "ok");
    CHECK(call::unlink(stack("gone")) == "ok");
    CHECK(call::unlink(stack("d/hidden")) == "ok");
    CHECK(call::rmdir(stack("d")) == "ok");
    CHECK(call::mkdir(stack("d")) == "ok");
    CHECK(call::create(stack("d/new"), "1") == "ok");
    CHECK(call::link(stack("d/new"), stack("d/new2")) == "ok");
    CHECK(call::setxattr(stack("d/new"), "user.k", "v") == "ok");
    CHECK(plyfs({"commit", stack(), room + "/1.tar"}).exit_code == 0);
    const Ran through =
        shell("cd '" + room +
              "' && export HOME=$PWD && umoci init --layout oci && "
              "umoci new --image oci:test && umoci raw add-layer --image oci:test 0.tar && "
              "umoci raw add-layer --image oci:test 1.tar && "
              "skopeo --insecure-policy copy oci:oci:test docker-archive:a.tar:test:latest && "
              "skopeo --insecure-policy copy docker-archive:a.tar oci:oci2:test && "
              "umoci unpack --rootless --image oci2:test bundle");
    INFO(through.err);
    REQUIRE(through.exit_code == 0);
    drop_rootless_marks(room + "/bundle/rootfs");
    // umoci makes the root itself.
    Dump shown = dump_without_directory_times(stack());
    Dump unpacked = dump_without_directory_times(room + "/bundle/rootfs");
    CHECK(difference(shown, unpacked) == "");
    remove_tree(room);
  });
}

}  // namespace
}  // namespace plyfs::tests
