// plyfs-dump: which version of a path is seen, and for each other one the reason.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "stack.h"
#include "volumes.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at)) {
    text.replace(at, what.size(), by);
    at += by.size();
  }
  return text;
}

Ran dump(const Stack& stack, Arguments arguments) {
  Arguments all = {plyfs_program() + "-dump", "-o", stack.layer_options()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run(all);
}

/// Lines of a snapshot without those of the layers, with ME for our own ids, OLD for the time of
/// every drawn file and MARK. for the namespace of marks.
std::vector<std::string> snapshot(const Stack& stack) {
  const Ran ran = dump(stack, {"snapshot"});
  CHECK(ran.err == "");
  CHECK(ran.exit_code == 0);
  const std::string ids = std::to_string(::geteuid()) + ":" + std::to_string(::getegid());
  std::string text = replaced(ran.out, "\t" + ids, "\tME");
  text = replaced(text, "2001-09-09T01:46:40.123456789Z", "OLD");
  text = replaced(text, overlay_prefix(), "MARK.");
  std::vector<std::string> lines;
  std::istringstream in(replaced(text, "\t", "  "));
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("/")) {
      lines.push_back(line);
    }
  }
  return lines;
}

using Lines = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

System no_mount() {
  System system;
  system.kind = System::Kind::kPlyfs;
  return system;
}

TEST_CASE("dump: the topmost file is seen, the others are shadowed by it", "[dump]") {
  const Watchdog watchdog(60);
  Stack stack = Stack{}.lower({file("f", "1")}).lower({file("f", "22")}).lower({dir("f")}).upper();
  stack.build(no_mount());
  CHECK(snapshot(stack) ==
        Lines{"/  upper  seen  directory  0755  ME", "/  1  merged  directory  0755  ME",
              "/  2  merged  directory  0755  ME", "/  3  merged  directory  0755  ME",
              "/f  1  seen  file  0644  ME  1  OLD",
              "/f  2  hidden  file  0644  ME  2  OLD  shadowed by layer 1 at /f",
              "/f  3  hidden  directory  0755  ME  shadowed by layer 1 at /f"});
}

TEST_CASE("dump: a file below a directory does not merge, and hides what is below it", "[dump]") {
  const Watchdog watchdog(60);
  Stack stack = Stack{}.lower({file("d/x")}).lower({file("d", "no")}).lower({file("d/y")}).upper();
  stack.build(no_mount());
  CHECK(snapshot(stack) ==
        Lines{"/  upper  seen  directory  0755  ME", "/  1  merged  directory  0755  ME",
              "/  2  merged  directory  0755  ME", "/  3  merged  directory  0755  ME",
              "/d  1  seen  directory  0755  ME",
              "/d  2  hidden  file  0644  ME  2  OLD  shadowed by layer 1 at /d",
              "/d  3  hidden  directory  0755  ME  shadowed by layer 2 at /d",
              "/d/x  1  seen  file  0644  ME  0  OLD",
              "/d/y  3  hidden  file  0644  ME  0  OLD  shadowed by layer 2 at /d"});
}

/// Checks that a line is among those given.
class Has {
 public:
  explicit Has(Lines lines) : lines_(std::move(lines)) {}
  void operator()(const std::string& line) const {
    INFO(line);
    CHECK(std::find(lines_.begin(), lines_.end(), line) != lines_.end());
  }

 private:
  Lines lines_;
};

TEST_CASE("dump: each family of whiteouts is named", "[dump]") {
  const Watchdog watchdog(60);
  Stack stack = Stack{}
                    .lower({whiteout("d/c"), xattr_whiteout("d/x"), aufs_whiteout("d/a")})
                    .lower({file("d/c"), file("d/x"), file("d/a/in")})
                    .upper();
  stack.build(no_mount());
  const Has has{snapshot(stack)};
  has("/d/c  1  whiteout  character device 0:0");
  has("/d/c  2  hidden  file  0644  ME  0  OLD  hidden by the whiteout (character device 0:0) of "
      "layer 1 at /d/c");
  has("/d/x  1  whiteout  an empty file marked by xattr");
  has("/d/x  2  hidden  file  0644  ME  0  OLD  hidden by the whiteout (an empty file marked by "
      "xattr) of layer 1 at /d/x");
  has("/d/a  1  whiteout  a .wh. file");
  has("/d/a  2  hidden  directory  0755  ME  hidden by the whiteout (a .wh. file) of layer 1 at "
      "/d/a");
  has("/d/a/in  2  hidden  file  0644  ME  0  OLD  hidden by the whiteout (a .wh. file) of layer 1 "
      "at /d/a");
}

TEST_CASE("dump: opaque directories are named by mark and place, for all that they hide",
          "[dump]") {
  const Watchdog watchdog(60);
  Stack stack = Stack{}
                    .lower({opaque("x"), aufs_opaque("a"), dir("b"), aufs_whiteout("b")})
                    .lower({file("x/deep/f"), file("a/f"), file("b/f")})
                    .upper();
  stack.build(no_mount());
  const Has has{snapshot(stack)};
  has("/x  1  seen  directory  0755  ME  opaque (MARK.opaque)");
  has("/x/deep/f  2  hidden  file  0644  ME  0  OLD  hidden by the opaque directory (MARK.opaque) "
      "of "
      "layer 1 at /x");
  has("/a  1  seen  directory  0755  ME  opaque (.wh..wh..opq)");
  has("/a/f  2  hidden  file  0644  ME  0  OLD  hidden by the opaque directory (.wh..wh..opq) of "
      "layer 1 at /a");
  has("/b/f  2  hidden  file  0644  ME  0  OLD  hidden by the .wh. file beside the directory of "
      "layer 1 at /b");
}

TEST_CASE("dump: redirects and metadata-only copies tell where they lead", "[dump]") {
  const Watchdog watchdog(60);
  const std::string mark = overlay_prefix();
  Stack stack =
      Stack{}
          .lower({whiteout("old"), dir("new").with_xattr(mark + "redirect", "/old"),
                  file("m").with_size(4).with_mode(0600).with_xattr(mark + "metacopy", "")})
          .lower({file("old/f", "1"), file("new/other"), file("m", "data")})
          .upper();
  stack.build(no_mount());
  const Has has{snapshot(stack)};
  has("/new  1  seen  directory  0755  ME  redirect /old");
  has("/new  2  merged  directory  0755  ME  at /old");
  has("/new/f  2  seen  file  0644  ME  1  OLD  at /old/f");
  has("/new/other  2  hidden  file  0644  ME  0  OLD  the search was redirected to /old by layer 1 "
      "at /new");
  has("/m  1  seen  file  0600  ME  4  OLD  metadata only, data below");
  has("/m  2  data  file  0644  ME  4  OLD");
}

TEST_CASE("dump: what a volume lies on is hidden by it", "[dump]") {
  on(plyfs_only(), [](const System& system) {
    const HostDirectory host({file("v")});
    Stack stack = Stack{}.lower({file("d/f", "1")}).upper({file("d/g")});
    stack.mount(system, volume(host(), "/d"));
    const Ran which = run({plyfs_program() + "-dump", stack(), "which", "d/f", "/d", "d/v"});
    CHECK(which.exit_code == 0);
    CHECK(contains(which.out, "/d/f: in the volume " + host() + "\n"));
    CHECK(contains(which.out, "  a volume lies on top: " + host() + "\n"));
    CHECK(contains(which.out, "/d/v: in the volume " + host() + "\n"));
    const Ran tree = run({plyfs_program() + "-dump", stack(), "tree", "--only", "volumes"});
    CHECK(contains(tree.out, "/d  (volume " + host() + ")\n"));
  });
}

TEST_CASE("dump: a layer for data shows no names", "[dump]") {
  const Watchdog watchdog(60);
  Stack stack = Stack{}.lower({file("f")}).lower({file("d/data", "1")}).upper();
  stack.build(no_mount());
  const Ran which =
      run({plyfs_program() + "-dump", "-o",
           "lowerdir=" + stack.lower_path(0) + "::" + stack.lower_path(1), "which", "d/data"});
  CHECK(which.exit_code == 0);
  CHECK(contains(which.out, "/d/data: not there\n"));
  CHECK(contains(which.out, "  the layer holds only data for redirects\n"));
}

TEST_CASE("dump: hard links that the index keeps together tell of it", "[dump]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("an index needs root");
    }
    Stack stack = Stack{}.lower({file("a", "old"), hardlink("b", "a")}).upper();
    stack.mount(system);
    CHECK(call::overwrite(stack("a"), "new") == "ok");
    const Ran which = run({plyfs_program() + "-dump", stack(), "which", "b"});
    CHECK(which.exit_code == 0);
    CHECK(contains(which.out, "/b: file, seen in the upper layer\n"));
    CHECK(contains(which.out, "  shared by its hard links, in the index as 00fb"));
    CHECK(contains(which.out,
                   "another hard link of it was changed: all show the copy in the index, 00fb"));
  });
}

TEST_CASE("dump: a redirect that leads through a mount of the host ends there", "[dump]") {
  const Watchdog watchdog(60);
  if (!is_root()) {
    return skip("needs root to mount in a layer");
  }
  Stack stack = Stack{}
                    .lower({dir("new").with_xattr("user.overlay.redirect", "/m/sub")})
                    .lower({file("m/sub/f"), file("new/g")})
                    .lower({file("new/h")})
                    .upper();
  stack.build(no_mount());
  const std::string mounted = stack.lower_path(1, "m");
  REQUIRE(run({"mount", "-t", "tmpfs", "-o", "mode=755", "plyfs-test", mounted}).exit_code == 0);
  Arguments asked = {plyfs_program() + "-dump"};
  for (const std::size_t layer : {0U, 1U, 2U}) {
    asked.insert(asked.end(), {"--lower", stack.lower_path(layer)});
  }
  asked.insert(asked.end(), {"which", "new/g", "new/h"});
  // Root reads a clone of the layer without what the host has mounted; others cannot make one.
  const std::string told = as_user(12345, 12345, [&] { return run(asked).out; });
  CHECK(run({"umount", mounted}).exit_code == 0);
  CHECK(contains(told, "/new/g: not there\n"));
  CHECK(contains(told, "  the search was redirected to /m/sub by layer 1 at /new\n"));
  CHECK(contains(told, "/new/h: not there\n"));
  CHECK(contains(told, "  the host has mounted something on layer 2 at /m\n"));
}

TEST_CASE("dump: an opaque directory above the end of a redirect is named", "[dump]") {
  const Watchdog watchdog(60);
  const std::string mark = overlay_prefix();
  Stack stack = Stack{}
                    .lower({dir("new").with_xattr(mark + "redirect", "/a/b/old")})
                    .lower({dir("a"), opaque("a/b"), file("a/b/old/f")})
                    .lower({file("a/b/old/g"), file("new/h")})
                    .upper();
  stack.build(no_mount());
  const Has has{snapshot(stack)};
  has("/new  2  merged  directory  0755  ME  at /a/b/old");
  has("/new/f  2  seen  file  0644  ME  0  OLD  at /a/b/old/f");
  has("/new/h  3  hidden  file  0644  ME  0  OLD  hidden by the opaque directory (MARK.opaque) of "
      "layer 2 at /a/b");
}

TEST_CASE("dump: what is not readable as a name is escaped", "[dump]") {
  const Watchdog watchdog(60);
  Stack stack = Stack{}.lower({file("a\x1b[31m\nb"), file("\xff"), file("back\\slash")}).upper();
  stack.build(no_mount());
  const Lines lines = snapshot(stack);
  CHECK(lines[2] == "/a\\x1b[31m\\x0ab  1  seen  file  0644  ME  0  OLD");
  CHECK(lines[3] == "/back\\x5cslash  1  seen  file  0644  ME  0  OLD");
  CHECK(lines[4] == "/\\xff  1  seen  file  0644  ME  0  OLD");
  const Ran json = dump(stack, {"--json", "tree"});
  CHECK(json.exit_code == 0);
  CHECK(json.out.find("/\\\\xff\"") != std::string::npos);
}

TEST_CASE("dump: compare shows names as snapshots have them, and trusts no snapshot", "[dump]") {
  const std::string room = fresh_directory();
  const auto written = [&](const char* name, const std::string& text) {
    std::ofstream{room + '/' + name} << text;
    return room + '/' + name;
  };
  const auto compare = [](const std::string& before, const std::string& after) {
    return run({plyfs_program() + "-dump", "compare", before, after});
  };
  const std::string head = "plyfs-dump snapshot 1\n";
  const std::string none = written("none", head);
  CHECK(compare(none, written("escaped", head + "/a\\x0a\t1\tseen\n")).out ==
        "A /a\\x0a\n  + 1  seen\n");
  CHECK(compare(none, written("raw", head + "/a\x1b[31m\t1\t\x1b]0;\a\n")).out ==
        "A /a\\x1b[31m\n  + 1  \\x1b]0;\\x07\n");
  for (const char* bad : {R"({"plyfs":7,"schema":1,"entries":[]})",
                          R"({"plyfs":"snapshot","schema":"1","entries":[]})",
                          R"({"plyfs":"snapshot","schema":1,"entries":"no"})",
                          R"({"plyfs":"snapshot","schema":1,"entries":[{"path":1}]})", "{", "[]"}) {
    CAPTURE(bad);
    const Ran ran = compare(none, written("bad", bad));
    CHECK(ran.exit_code == 2);
    CHECK(ran.err.starts_with("plyfs-dump: not a snapshot: "));
  }
  remove_tree(room);
}

TEST_CASE("dump: hostile layers give a report", "[dump]") {
  const Watchdog watchdog(120);
  const std::string mark = overlay_prefix();
  Items items = {fifo("pipe"),
                 socket_node("sock"),
                 symlink("loop", "loop"),
                 dir("a").with_xattr(mark + "redirect", "/b"),
                 dir("b").with_xattr(mark + "redirect", "/a"),
                 dir("climb").with_xattr(mark + "redirect", "/../../etc"),
                 file("secret", "x").with_mode(0)};
  Items low = items;
  items.push_back(file("m").with_size(4096).with_xattr(mark + "metacopy", ""));
  std::string deep = "deep";
  for (int i = 0; i < 60; ++i) {
    deep += "/dddddddddddddddddddddddddd";
  }
  low.push_back(file(deep + "/f"));
  Stack stack = Stack{}.lower(items).lower(low).upper();
  stack.build(no_mount());
  const Ran ran = dump(stack, {"snapshot", "--digest"});
  CHECK(ran.exit_code == 0);
  CHECK(ran.out.find("/climb\t-\terror\tInvalid argument\n") != std::string::npos);
  CHECK(ran.out.find("/m\t-\terror\tInput/output error\n") != std::string::npos);
  CHECK(ran.out.find("d/f\t2\tseen") != std::string::npos);
  CHECK(ran.out.find("/pipe\t1\tseen\tfifo") != std::string::npos);
}

TEST_CASE("dump: a path outside of the tree gets a hint", "[dump]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("etc/motd", "1")}).upper();
    stack.mount(system);
    const Ran ran = run({plyfs_program() + "-dump", stack(), "which", stack("etc/motd")});
    CHECK(ran.exit_code == 1);
    CHECK(ran.out.empty());
    CHECK(ran.err == "plyfs-dump: no path in the merged tree: " + stack("etc/motd") +
                         ": No such file or directory; paths begin at the root of the mount: "
                         "/etc/motd\n");
    CHECK(run({plyfs_program() + "-dump", stack(), "which", "/etc/motd"}).exit_code == 0);
    CHECK(run({plyfs_program() + "-dump", stack(), "which", "/etc/none"}).exit_code == 0);
  });
}

TEST_CASE("dump: wrong usage is told and exits 1, a layer that is not there 2", "[dump]") {
  const std::string program = plyfs_program() + "-dump";
  CHECK(run({program}).exit_code == 1);
  CHECK(run({program, "--lower", "/", "which"}).exit_code == 1);
  CHECK(run({program, "--lower", "/", "tree", "--only", "nonsense"}).exit_code == 1);
  const Ran ran = run({program, "--lower", "/no/such/layer", "tree"});
  CHECK(ran.exit_code == 2);
  CHECK(ran.err ==
        "plyfs-dump: cannot open layer: /no/such/layer: No such file or directory; check that the "
        "directory exists and may be read\n");
  CHECK(run({program, "--lower", "/", "tree", "no/such/path"}).exit_code == 2);
  const Ran stats = run({program, "stats"});
  CHECK(stats.exit_code == 1);
  CHECK(stats.err ==
        "plyfs-dump: no mount given: STACK: Invalid argument; name a mount point, or the name of a "
        "live mount\n");
  CHECK(
      run({program, "compare", "/no/a", "/no/b"}).err ==
      "plyfs-dump: cannot read snapshot: /no/a: No such file or directory; name a file written by "
      "plyfs-dump STACK snapshot\n");
}

}  // namespace
}  // namespace plyfs::tests
