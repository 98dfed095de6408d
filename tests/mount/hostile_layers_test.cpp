// Layers that somebody made to harm who looks at them: every question gives a report, and ends.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

System no_mount() {
  System system;
  system.kind = System::Kind::kPlyfs;
  return system;
}

Ran ask(const std::string& program, const Stack& stack, const Arguments& arguments) {
  Arguments all = {program == "dump" ? plyfs_program() + "-dump" : plyfs_program()};
  if (program != "dump") {
    all.push_back(arguments.front());
  }
  all.insert(all.end(), {"-o", stack.layer_options()});
  all.insert(all.end(), arguments.begin() + (program == "dump" ? 0 : 1), arguments.end());
  return run(all);
}

/// Every question that prints names.
const std::vector<std::pair<std::string, Arguments>>& questions() {
  static const std::vector<std::pair<std::string, Arguments>> kQuestions = {
      {"dump", {"tree"}},
      {"dump", {"snapshot", "--digest"}},
      {"dump", {"layers"}},
      {"dump", {"copyups"}},
      {"dump", {"verify"}},
      {"dump", {"--json", "tree"}},
      {"plyfs", {"diff"}},
      {"plyfs", {"diff", "--json", "--all"}},
      {"dump", {"--json", "verify"}}};
  return kQuestions;
}

/// Bytes that a terminal would act on, lines apart and tabs between the fields of a snapshot.
bool is_clean(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char byte) {
    const auto value = static_cast<unsigned char>(byte);
    return byte == '\n' || byte == '\t' || (value >= 0x20 && value != 0x7f);
  });
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("names, targets and marks are shown escaped by every question", "[dump][hostile]") {
  const Watchdog watchdog(60);
  const std::string escape = "\x1b]0;owned\a\x1b[2J";
  Stack stack =
      Stack{}
          .lower({file("new\nline/" + escape, "1"), symlink("to", "\x1b[31m\n"), file("del\x7f"),
                  file("c1\xc2\x9b"),
                  file("rtl\xe2\x80\xae"
                       "fdp.exe"),
                  file("\xff\xfe"), dir("r").with_xattr(overlay_prefix() + "redirect", "/\x1b[5m"),
                  opaque("o" + escape)})
          .lower({file("o" + escape + "/hidden"), whiteout("w\r"), dir("r")})
          .upper({file("new\nline/" + escape, "2"), whiteout("del\x7f")});
  stack.build(no_mount());
  for (const auto& [program, arguments] : questions()) {
    CAPTURE(program, arguments);
    const Ran ran = ask(program, stack, arguments);
    CHECK(is_clean(ran.out));
    CHECK(is_clean(ran.err));
    CHECK_FALSE(contains(ran.out, "\xc2\x9b"));
    CHECK_FALSE(contains(ran.out, "\xe2\x80\xae"));
  }
  CHECK(contains(ask("plyfs", stack, {"diff"}).out, "D /del\\x7f\n"));
  CHECK(contains(ask("plyfs", stack, {"diff"}).out, "/new\\x0aline/\\x1b]0;owned\\x07\\x1b[2J\n"));
}

TEST_CASE("marks that say nothing sensible give an error or are no marks", "[dump][hostile]") {
  const Watchdog watchdog(60);
  const std::string mark = overlay_prefix();
  const auto marked = [&](const char* name, const char* which, const std::string& value) {
    return dir(name).with_xattr(mark + which, value);
  };
  Items top = {marked("opaque-z", "opaque", "z"),
               marked("climb", "redirect", "/../../etc"),
               marked("dots", "redirect", ".."),
               marked("slash", "redirect", "a/b"),
               marked("root", "redirect", "/"),
               marked("trailing", "redirect", "/a/"),
               marked("long", "redirect", "/" + std::string(300, 'x')),
               marked("zero", "redirect", std::string("/a\0b", 4)),
               marked("nowhere", "redirect", "/no/such"),
               marked("meta", "metacopy", "garbage"),
               file("count").with_xattr(mark + "nlink", "U+99999999999999999999"),
               file("origin", "x").with_xattr(mark + "origin", "\x01\x02"),
               file("data").with_size(5000).with_xattr(mark + "metacopy", ""),
               file("not-empty", "x").with_xattr(mark + "whiteout", "y")};
  Items low;
  for (const char* name : {"opaque-z", "climb", "dots", "slash", "root", "trailing", "long", "zero",
                           "nowhere", "meta"}) {
    low.push_back(file(std::string{name} + "/below"));
  }
  Stack stack = Stack{}.lower(top).lower(low).upper();
  stack.build(no_mount());
  const Ran snapshot = ask("dump", stack, {"snapshot"});
  CHECK(snapshot.exit_code == 0);
  for (const char* name : {"climb", "dots", "slash", "root", "trailing", "long", "zero"}) {
    CAPTURE(name);
    CHECK(contains(snapshot.out, std::string{"/"} + name + "\t-\terror\tInvalid argument\n"));
  }
  CHECK(contains(snapshot.out, "/data\t-\terror\tInput/output error\n"));
  CHECK(contains(snapshot.out, "/opaque-z/below\t2\tseen\t"));
  CHECK(contains(snapshot.out, "/not-empty\t1\tseen\tfile\t"));
  const Ran verify = ask("dump", stack, {"verify"});
  CHECK(verify.exit_code == 4);
  CHECK(contains(verify.out,
                 "error: layer 1 /nowhere: a redirect to /no/such, where no layer "
                 "below has a directory\n"));
  CHECK(contains(verify.out, "error: layer 1 /climb: cannot be looked up: Invalid argument\n"));
}

/// Stack{} has no assignment: the layers are added one in the other.
Stack of_layers(std::vector<Items> layers, std::size_t added = 0, Stack stack = Stack{}) {
  return added == layers.size()
             ? std::move(stack).upper()
             : of_layers(layers, added + 1, std::move(stack).lower(layers[added]));
}

TEST_CASE("redirects in circles and through many layers end", "[dump][hostile]") {
  const Watchdog watchdog(120);
  const std::string mark = overlay_prefix() + "redirect";
  constexpr int kLayers = 60;
  std::vector<Items> layers;
  for (int i = 0; i < kLayers; ++i) {
    layers.push_back({dir("a").with_xattr(mark, "/b"), dir("b").with_xattr(mark, "/a"),
                      dir("n" + std::to_string(i)).with_xattr(mark, "/n" + std::to_string(i + 1)),
                      dir("self").with_xattr(mark, "/self"),
                      dir("into").with_xattr(mark, "/into/into/into"), dir("into/into/into")});
  }
  layers.push_back({file("n" + std::to_string(kLayers) + "/end", "here"), file("self/f")});
  Stack deep = of_layers(std::move(layers));
  deep.build(no_mount());
  for (const auto& [program, arguments] : questions()) {
    CAPTURE(program, arguments);
    const Ran ran = ask(program, deep, arguments);
    CHECK((ran.exit_code == 0 || ran.exit_code == 4));
  }
  const Ran which = ask("dump", deep, {"which", "n0/end"});
  CHECK(contains(which.out, "/n0/end: file, seen in layer 61\n"));
}

TEST_CASE("what is no regular file is never opened", "[dump][hostile]") {
  const Watchdog watchdog(60);
  Items items = {fifo("pipe"), socket_node("sock"), file("control", "x")};
  if (is_root()) {
    items.push_back(device("dev", S_IFCHR, 240, 7));
  }
  Stack stack = Stack{}.lower(items).lower(items).upper({fifo("pipe"), file("control", "y")});
  stack.build(no_mount());
  const int watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  REQUIRE(watch >= 0);
  std::vector<std::pair<int, std::string>> watched;
  const auto add = [&](const std::string& path) {
    watched.emplace_back(::inotify_add_watch(watch, path.c_str(), IN_OPEN), path);
    REQUIRE(watched.back().first >= 0);
  };
  add(stack.upper_path("pipe"));
  add(stack.upper_path("control"));
  for (const Item& item : items) {
    add(stack.lower_path(0, item.path));
  }
  for (const auto& [program, arguments] : questions()) {
    (void)ask(program, stack, arguments);
  }
  CHECK(ask("plyfs", stack, {"commit", stack.directory() + "/out.tar"}).exit_code == 0);
  CHECK(ask("plyfs", stack, {"flatten", stack.directory() + "/flat.tar"}).exit_code == 0);
  std::vector<std::string> opened;
  alignas(inotify_event) char buffer[4096];
  for (ssize_t got = 0; (got = ::read(watch, buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      for (const auto& [descriptor, path] : watched) {
        if (descriptor == event->wd) {
          opened.push_back(path.substr(path.rfind('/') + 1));
        }
      }
      at += static_cast<ssize_t>(sizeof(inotify_event)) + event->len;
    }
  }
  (void)::close(watch);
  CHECK(std::count(opened.begin(), opened.end(), "control") > 0);  // the watch works
  opened.erase(std::remove(opened.begin(), opened.end(), "control"), opened.end());
  CHECK(opened == std::vector<std::string>{});
}

TEST_CASE("what the user may not read is told, and the rest is shown", "[dump][hostile]") {
  const Watchdog watchdog(60);
  if (is_root()) {
    return skip("root may read everything");
  }
  Stack stack =
      Stack{}
          .lower({file("secret", "123").with_mode(0), dir("closed").with_mode(0),
                  file("open/f", "1"), dir("listed").with_mode(0444), file("same", "123")})
          .lower({file("secret", "123"), file("closed/under"), file("listed/x")})
          .upper({file("own", "1").with_mode(0)});
  stack.build(no_mount());
  const Ran snapshot = ask("dump", stack, {"snapshot", "--digest"});
  CHECK(snapshot.exit_code == 2);
  CHECK(snapshot.err ==
        "plyfs-dump: some directories could not be read: 2 of them, the first in layer 1 at "
        "/closed: Permission denied; run as root, or as the owner of the layers\n");
  CHECK(contains(snapshot.out, "/open/f\t1\tseen\tfile\t"));
  CHECK(contains(snapshot.out, "\tunreadable\n"));
  const Ran layers = ask("dump", stack, {"layers"});
  CHECK(layers.exit_code == 2);
  CHECK(layers.err ==
        "plyfs-dump: 2 files could not be read, directories: 2 of them, the first in layer 1 at "
        "/closed: Permission denied; run as root, or as the owner of the layers\n");
  CHECK(contains(layers.out, "\n2      "));  // all that can be told
  const Ran verify = ask("dump", stack, {"verify"});
  CHECK(verify.exit_code == 4);
  CHECK(contains(verify.out,
                 "error: layer 1 /closed: could not be listed: Permission denied (and 1 more)\n"));
  const Ran which = ask("dump", stack, {"which", "closed/under"});
  CHECK(contains(which.out, "cannot be looked up: Permission denied\n"));
  CHECK(which.exit_code == 2);
  for (const Arguments& words : {Arguments{"diff"},
                                 {"commit", stack.directory() + "/no.tar"},
                                 {"flatten", stack.directory() + "/no.tar"}}) {
    const Ran ran = ask("plyfs", stack, words);
    CHECK(ran.exit_code == 2);
    CHECK(contains(ran.err, ": /closed: Permission denied; run as root, or as the owner"));
  }
}

TEST_CASE("500 layers are shown with few descriptors", "[dump][hostile]") {
  const Watchdog watchdog(120);
  const std::string root = fresh_directory();
  std::string lowers;
  for (int i = 0; i < 500; ++i) {
    const std::string layer = root + "/" + std::to_string(i);
    REQUIRE(::mkdir(layer.c_str(), 0755) == 0);
    make_tree(layer, {file("d/e/shared", std::to_string(i)), file("d/own" + std::to_string(i))},
              overlay_prefix());
    lowers += (i == 0 ? "" : ":") + layer;
  }
  const auto dump = [&](const Arguments& arguments) {
    Arguments all = {"prlimit", "--nofile=1024:1024", plyfs_program() + "-dump", "-o",
                     "lowerdir=" + lowers};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run(all);
  };
  const Ran which = dump({"which", "d/e/shared"});
  CHECK(which.exit_code == 0);
  CHECK(contains(which.out, "/d/e/shared: file, seen in layer 1\n"));
  CHECK(std::count(which.out.begin(), which.out.end(), '\n') == 501 + 1 + 1 + 1 + 500);
  const Ran tree = dump({"tree", "--only", "hidden"});
  CHECK(tree.exit_code == 0);
  CHECK(contains(tree.out, "/d/e/shared  (hides 2-500)\n"));
  const Ran layers = dump({"layers"});
  CHECK(layers.exit_code == 0);
  CHECK(contains(layers.out, "\n500    2 "));
  CHECK(dump({"verify"}).out == "nothing is wrong\n");
  CHECK(dump({"snapshot"}).exit_code == 0);
  remove_tree(root);
}

TEST_CASE("symbolic links are shown and never followed", "[dump][hostile]") {
  const Watchdog watchdog(60);
  Stack stack = Stack{}
                    .lower({symlink("loop", "loop"), symlink("up", ".."), symlink("out", "/etc"),
                            symlink("a", "b"), symlink("b", "a")})
                    .lower({file("out/passwd", "lower"), file("loop/f")})
                    .upper({symlink("d", "/etc")});
  stack.build(no_mount());
  const Ran which = ask("dump", stack, {"which", "loop/f", "out/passwd", "d/passwd", "up/x"});
  CHECK(which.exit_code == 0);
  CHECK(contains(which.out, "/loop/f: not there\n"));
  CHECK(contains(which.out, "/out/passwd: not there\n"));
  CHECK(contains(which.out, "shadowed by layer 1 at /out"));
  CHECK(contains(which.out, "/d/passwd: not there, in no layer\n"));
  for (const auto& [program, arguments] : questions()) {
    const Ran ran = ask(program, stack, arguments);
    CHECK_FALSE(contains(ran.out, "root"));
    CHECK((ran.exit_code == 0 || ran.exit_code == 4));
  }
}

/// `depth` directories in each other, by one name; deeper than any path can say.
void make_deep(const std::string& root, int depth) {
  int at = ::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(at >= 0);
  for (int i = 0; i < depth; ++i) {
    REQUIRE(::mkdirat(at, "d", 0755) == 0);
    const int next = ::openat(at, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(next >= 0);
    (void)::close(at);
    at = next;
  }
  const int file = ::openat(at, "f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  CHECK(file >= 0);
  (void)::close(file);
  (void)::close(at);
}

TEST_CASE("trees deeper than any path are shown to the end", "[dump][hostile]") {
  const Watchdog watchdog(120);
  constexpr int kDepth = 5000;
  Stack stack = Stack{}.lower({file("x")}).lower({file("y")}).upper();
  stack.build(no_mount());
  const std::string room = fresh_directory();
  make_deep(room, kDepth);
  const Ran snapshot = run({plyfs_program() + "-dump", "--lower", room, "snapshot"});
  CHECK(snapshot.exit_code == 0);
  CHECK(std::count(snapshot.out.begin(), snapshot.out.end(), '\n') == 1 + 1 + 1 + kDepth + 1);
  CHECK(contains(snapshot.out, "d/f\t1\tseen\tfile"));
  for (const char* question : {"tree", "layers", "verify"}) {
    CAPTURE(question);
    CHECK(run({plyfs_program() + "-dump", "--lower", room, question}).exit_code == 0);
  }
  const std::string tar = stack.directory() + "/t.tar";
  CHECK(run({plyfs_program(), "flatten", "--lower", room, tar}).exit_code == 0);
  // A comparison tells why it does not go on.
  const Ran diff = run({plyfs_program(), "diff", "--upper", room, "--lower", stack.lower_path(0)});
  CHECK(diff.exit_code == 2);
  CHECK(contains(diff.err, "File name too long"));
  CHECK(run({"rm", "-rf", room}).exit_code == 0);
}

}  // namespace
}  // namespace plyfs::tests
