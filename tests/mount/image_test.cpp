// plyfs diff, commit, flatten, convert; plyfs-dump layers, copyups, verify, compare.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

Ran plyfs(Arguments arguments) {
  arguments.insert(arguments.begin(), plyfs_program());
  return run(arguments);
}

Ran dump(Arguments arguments) {
  arguments.insert(arguments.begin(), plyfs_program() + "-dump");
  return run(arguments);
}

System no_mount() {
  System system;
  system.kind = System::Kind::kPlyfs;
  return system;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A stack with a bit of everything; `b/link` and `b/other` are hard links.
Stack everything() {
  return Stack{}
      .lower({file("a/f", "top").with_mode(0640), whiteout("gone"), dir("d"), opaque("d"),
              file("d/new", "1"), aufs_whiteout("old")})
      .lower({file("a/f", "below"), file("a/g", "g"), file("gone", "x"), file("d/hidden", "h"),
              file("old", "o"), symlink("ln", "a/f"), fifo("pipe"), file("b/link", "linked"),
              hardlink("b/other", "b/link"), file("big").with_size(100000), dir("empty")})
      .upper();
}

/// What an upper of users' own changes looks like through a mount.
void change(const Stack& stack) {
  using namespace call;
  CHECK(overwrite(stack("a/g"), "changed") == "ok");
  CHECK(outcome(::mkdir(stack("fresh").c_str(), 0755)) == "ok");
  std::ofstream{stack("fresh/file")} << "new";
  CHECK(outcome(::unlink(stack("big").c_str())) == "ok");
  CHECK(outcome(::rename(stack("b").c_str(), stack("moved").c_str())) == "ok");
  CHECK(outcome(::chmod(stack("a/f").c_str(), 0600)) == "ok");
}

TEST_CASE("diff lists what docker diff lists", "[image]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = everything();
    stack.mount(system);
    change(stack);
    const Ran ran = plyfs({"diff", stack()});
    CHECK(ran.err == "");
    CHECK(ran.exit_code == 0);
    CHECK(ran.out ==
          "D /b\nD /big\nC /a\nC /a/f\nC /a/g\nA /fresh\nA /fresh/file\nA /moved\n"
          "A /moved/link\nA /moved/other\n");
  });
}

/// One change through a mount, and what docker diff says of it.
struct DiffCase {
  const char* name;
  void (*change)(const Stack&);
  const char* told;
};

const DiffCase kDiffCases[] = {
    {"nothing", [](const Stack&) {}, ""},
    {"only looked at and opened", [](const Stack& s) { (void)content(s("d/a")); }, ""},
    {"mtime of a file",
     [](const Stack& s) {
       (void)call::utimens(s("d/a"), {1, 1}, {1, 1});
     },
     "C /d\nC /d/a\n"},
    {"mtime of a directory",
     [](const Stack& s) {
       (void)call::utimens(s("d"), {1, 1}, {1, 1});
     },
     ""},
    {"mode of a directory", [](const Stack& s) { (void)call::chmod(s("d"), 0700); }, "C /d\n"},
    {"metadata only", [](const Stack& s) { (void)call::chmod(s("d/a"), 0600); }, "C /d\nC /d/a\n"},
    {"metadata there and back",
     [](const Stack& s) {
       (void)call::chmod(s("d/a"), 0600);
       (void)call::chmod(s("d/a"), 0644);
     },
     ""},
    {"removed and made again as a directory",
     [](const Stack& s) {
       (void)call::unlink(s("d/a"));
       (void)call::mkdir(s("d/a"));
       (void)call::create(s("d/a/x"), "");
     },
     "C /d\nC /d/a\nA /d/a/x\n"},
    {"a directory that became a file",
     [](const Stack& s) {
       (void)call::unlink(s("d/e/f"));
       (void)call::rmdir(s("d/e"));
       (void)call::create(s("d/e"), "");
     },
     "C /d\nC /d/e\n"},
    {"a directory that was removed and made again",
     [](const Stack& s) {
       (void)call::unlink(s("d/e/f"));
       (void)call::unlink(s("d/e/g"));
       (void)call::rmdir(s("d/e"));
       (void)call::mkdir(s("d/e"));
       (void)call::create(s("d/e/new"), "");
     },
     "C /d\nC /d/e\nD /d/e/f\nA /d/e/new\n"},
    {"a renamed directory", [](const Stack& s) { (void)call::rename(s("d/e"), s("r")); },
     "C /d\nD /d/e\nA /r\nA /r/f\n"},
    {"one of two hard links", [](const Stack& s) { (void)call::overwrite(s("h1"), "new content"); },
     "C /h1\nC /h2\n"},
    {"another hard link", [](const Stack& s) { (void)call::link(s("d/a"), s("l")); }, "A /l\n"},
    {"a new directory and its end",
     [](const Stack& s) {
       (void)call::mkdir(s("d/n"));
       (void)call::rmdir(s("d/n"));
     },
     ""},
};

TEST_CASE("diff says of each kind of change what docker diff says", "[image]") {
  on(plyfs_only(), [](const System& system) {
    for (const DiffCase& tried : kDiffCases) {
      CAPTURE(tried.name);
      Stack stack = Stack{}
                        .lower({file("d/a", "1"), file("d/e/f", "2"), file("h1", "linked"),
                                hardlink("h2", "h1")})
                        .upper();
      stack.mount(system);
      tried.change(stack);
      const Ran ran = plyfs({"diff", stack()});
      CHECK(ran.err == "");
      CHECK(ran.out == tried.told);
    }
  });
}

TEST_CASE("a copy without a change is listed only when asked for", "[image]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "same")}).upper({file("d/f", "same")});
    stack.build(system);
    const std::string options = stack.layer_options();
    CHECK(plyfs({"diff", "-o", options}).out == "");
    CHECK(contains(plyfs({"diff", "--all", "-o", options}).out, "S /d/f\n"));
    const Ran copyups = dump({"-o", options, "copyups"});
    CHECK(contains(copyups.out, "identical  4 B   /d/f\n"));
    CHECK(contains(copyups.out, "identical: 1 file, 4 B (wasted)\n"));
    CHECK(dump({"--upper", stack.lower_path(0, "d"), "--lower", stack.lower_path(0), "copyups"})
              .out == "nothing was copied up\n");
  });
}

TEST_CASE("flatten gives what the mount shows, commit a layer that shows the same", "[image]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = everything();
    stack.mount(system);
    change(stack);
    const std::string room = fresh_directory();
    const Ran flat = plyfs({"flatten", stack(), room + "/flat"});
    CHECK(flat.err == "");
    CHECK(flat.exit_code == 0);
    const Dump shown = full_dump(stack());
    CHECK(difference(shown, full_dump(room + "/flat")) == "");

    const Ran layer = plyfs({"commit", stack(), room + "/layer"});
    CHECK(layer.err == "");
    CHECK(layer.exit_code == 0);
    const std::string lowers = room + "/layer:" + stack.lower_path(0) + ":" + stack.lower_path(1);
    const Ran again = plyfs({"flatten", "-o", "lowerdir=" + lowers, room + "/again"});
    CHECK(again.exit_code == 0);
    CHECK(difference(full_dump(room + "/flat"), full_dump(room + "/again")) == "");
    CHECK(plyfs({"flatten", stack(), room + "/flat"}).exit_code == 2);  // there already
    remove_tree(room);
  });
}

TEST_CASE("layer tars unpack to the merged tree by an OCI tool", "[image]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root() || run({"umoci", "--version"}).exit_code != 0) {
      return skip("needs root and umoci");
    }
    Stack stack = everything();
    stack.mount(system);
    change(stack);
    const std::string room = fresh_directory();
    const std::string low = stack.lower_path(1);
    const std::string image = room + "/oci:test";
    CHECK(plyfs({"flatten", "--lower", low, room + "/0.tar"}).exit_code == 0);
    CHECK(plyfs({"commit", "--upper", stack.lower_path(0), "--lower", low, room + "/1.tar.gz"})
              .exit_code == 0);
    const Ran top = plyfs({"commit", stack(), room + "/2.tar.zst"});
    CHECK(top.exit_code == 0);
    CHECK(contains(top.out, "digest   sha256:"));
    CHECK(run({"umoci", "init", "--layout", room + "/oci"}).exit_code == 0);
    CHECK(run({"umoci", "new", "--image", image}).exit_code == 0);
    CHECK(run({"sh", "-c", "cd '" + room + "' && gzip -dk 1.tar.gz && zstd -qd 2.tar.zst"})
              .exit_code == 0);
    for (const char* const layer : {"/0.tar", "/1.tar", "/2.tar"}) {
      const Ran added = run({"umoci", "raw", "add-layer", "--image", image, room + layer});
      INFO(added.err);
      CHECK(added.exit_code == 0);
    }
    const Ran unpacked = run({"umoci", "unpack", "--image", image, room + "/bundle"});
    INFO(unpacked.err);
    CHECK(unpacked.exit_code == 0);
    CHECK(difference(dump_without_directory_times(stack()),
                     dump_without_directory_times(room + "/bundle/rootfs")) == "");
    remove_tree(room);
  });
}

TEST_CASE("the digests of a tar are those of the file and of its unpacked form", "[image]") {
  Stack stack = everything();
  stack.build(no_mount());
  const std::string room = fresh_directory();
  const std::string tar = room + "/t.tar.gz";
  const Ran ran = plyfs({"flatten", "-o", stack.layer_options(), tar});
  CHECK(ran.exit_code == 0);
  const std::string packed = run({"sha256sum", tar}).out.substr(0, 64);
  const std::string plain =
      run({"sh", "-c", "gzip -dc '" + tar + "' | sha256sum"}).out.substr(0, 64);
  CHECK(contains(ran.out, "digest   sha256:" + packed + "\n"));
  CHECK(contains(ran.out, "diff-id  sha256:" + plain + "\n"));
  CHECK(contains(ran.out, "size     " + std::to_string(std::filesystem::file_size(tar)) + "\n"));
  // The same tree gives the same bytes.
  CHECK(plyfs({"flatten", "-o", stack.layer_options(), room + "/u.tar.gz"}).exit_code == 0);
  CHECK(run({"sha256sum", room + "/u.tar.gz"}).out.substr(0, 64) == packed);
  remove_tree(room);
}

TEST_CASE("convert between the families loses nothing", "[image]") {
  Stack stack = everything();
  stack.build(no_mount());
  const std::string room = fresh_directory();
  const std::string own = is_root() ? "overlay" : "userxattr";
  const std::string layer = stack.lower_path(0);
  CHECK(plyfs({"convert", layer, "--to", own, room + "/first"}).exit_code == 0);
  const Ran aufs = plyfs({"convert", room + "/first", "--to", "aufs", room + "/aufs"});
  CHECK(aufs.err == "");
  CHECK(aufs.exit_code == 0);
  CHECK(std::filesystem::exists(room + "/aufs/.wh.gone"));
  CHECK(std::filesystem::exists(room + "/aufs/d/.wh..wh..opq"));
  CHECK(plyfs({"convert", room + "/aufs", "--to", own, room + "/back"}).exit_code == 0);
  CHECK(difference(full_dump(room + "/first"), full_dump(room + "/back")) == "");
  CHECK(plyfs({"convert", room + "/back", "--to", "aufs"}).exit_code == 0);  // in place
  CHECK(difference(full_dump(room + "/aufs"), full_dump(room + "/back")) == "");
  remove_tree(room);
}

TEST_CASE("a tree is not written into itself", "[image]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "1")}).upper({file("u")});
    stack.mount(system);
    const Picture upper = stack.upper_picture();
    const std::string why =
        ": Invalid argument; it lies in a layer, or in the mount: choose a place outside\n";
    const auto refused = [&](const Arguments& words, const std::string& target) {
      Arguments all = words;
      all.push_back(target);
      CAPTURE(all);
      const Ran ran = plyfs(all);
      CHECK(ran.exit_code == 2);
      CHECK(ran.err == "plyfs: cannot write target: " + target + why);
    };
    refused({"flatten", stack()}, stack("out"));
    refused({"flatten", stack()}, stack("d/out.tar"));
    refused({"flatten", stack()}, stack.upper_path("out"));
    refused({"flatten", stack()}, stack.lower_path(0, "d/out.tar"));
    refused({"commit", stack()}, stack("out.tar"));
    refused({"commit", stack()}, stack.upper_path("out"));
    refused({"commit", stack()}, stack.lower_path(0, "d/out.tar"));
    refused({"commit", stack()}, stack.lower_path(0, "out"));
    refused({"convert", stack.lower_path(0), "--to", "aufs"}, stack.lower_path(0, "d/out"));
    CHECK(stack.upper_picture() == upper);
    CHECK(picture(stack.lower_path(0)) == Picture{"d/", "d/f=1"});
    CHECK(plyfs({"flatten", stack(), stack.directory() + "/no/out"}).err ==
          "plyfs: cannot write target: " + stack.directory() +
              "/no/out: No such file or directory; create the directory that is to hold it, or "
              "correct the path\n");
  });
}

TEST_CASE("convert writes beside a path with a slash at its end", "[image]") {
  const std::string room = fresh_directory();
  REQUIRE(::mkdir((room + "/layer").c_str(), 0755) == 0);
  make_tree(room + "/layer", {file("d/f", "1"), whiteout("gone")}, overlay_prefix());
  const Ran ran = plyfs({"convert", room + "/layer/", "--to", "aufs"});
  CHECK(ran.err == "");
  CHECK(ran.exit_code == 0);
  CHECK(picture(room + "/layer") == Picture{".wh.gone=", "d/", "d/f=1"});
  CHECK(picture(room).size() == 4);
  remove_tree(room);
}

TEST_CASE("commit says what is wrong with its target, and writes an empty layer", "[image]") {
  const std::string room = fresh_directory();
  for (const char* const name : {"/lower", "/upper", "/full.tar", "/full"}) {
    REQUIRE(::mkdir((room + name).c_str(), 0755) == 0);
  }
  make_tree(room + "/full", {file("f", "1")}, overlay_prefix());
  make_tree(room + "/lower", {file("f", "1")}, overlay_prefix());
  REQUIRE(::mkfifo((room + "/fifo.tar").c_str(), 0600) == 0);
  const auto commit = [&](const std::string& target) {
    return plyfs({"commit", "--upper", room + "/upper", "--lower", room + "/lower", room + target});
  };
  CHECK(commit("/out").exit_code == 0);
  CHECK(picture(room + "/out").empty());
  CHECK(commit("/out.tar").exit_code == 0);
  const Ran zip = commit("/out.zip");
  CHECK(zip.exit_code == 1);
  CHECK(zip.err == "plyfs: cannot write target: " + room +
                       "/out.zip: Invalid argument; archives end in .tar, .tar.gz or .tar.zst; a "
                       "directory of that name is meant with a slash at its end\n");
  CHECK(call::stat(room + "/out.zip") == "ENOENT");
  CHECK(commit("/out.zip/").exit_code == 0);
  const auto refused = [&](const std::string& target, const std::string& why) {
    const Ran ran = commit(target);
    CHECK(ran.exit_code == 2);
    CHECK(ran.err == "plyfs: cannot write target: " + room + target + ": " + why + "\n");
  };
  refused("/full", "File exists; choose another target, or remove what is there");
  refused(
      "/full.tar",
      "Is a directory; it is a directory: name a file, or a directory without .tar in its name");
  refused("/fifo.tar", "Invalid argument; name a new directory, or a .tar, .tar.gz or .tar.zst");
  remove_tree(room);
}

TEST_CASE("a tar hides what a socket took the place of", "[image]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "1"), file("d/g", "2"), file("dir/x", "3")}).upper();
    stack.mount(system);
    CHECK(joined({call::unlink(stack("d/f")), call::mknod(stack("d/f"), S_IFSOCK | 0600),
                  call::unlink(stack("dir/x")), call::rmdir(stack("dir")),
                  call::mknod(stack("dir"), S_IFSOCK | 0600),
                  call::mknod(stack("d/new"), S_IFSOCK | 0600),
                  call::link(stack("d/new"), stack("d/new2"))}) == "ok ok ok ok ok ok ok");
    const std::string tar = stack.directory() + "/out.tar";
    const Ran ran = plyfs({"commit", stack(), tar});
    CHECK(ran.exit_code == 0);
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 4);
    Ran listed = run({"tar", "-tf", tar});
    CHECK(listed.out == "./\n.wh.dir\nd/\nd/.wh.f\n");
    CHECK(plyfs({"diff", stack()}).out == "C /d\nC /d/f\nA /d/new\nA /d/new2\nC /dir\n");
  });
}

TEST_CASE("a commit that is interrupted leaves nothing behind", "[image][crash]") {
  const std::string room = fresh_directory();
  for (const char* const name : {"/lower", "/upper", "/out-dir"}) {
    REQUIRE(::mkdir((room + name).c_str(), 0755) == 0);
  }
  Items many;
  for (int i = 0; i < 3000; ++i) {
    many.push_back(file("d/" + std::to_string(i), std::string(2000, 'x')));
  }
  make_tree(room + "/upper", many, overlay_prefix());
  // Left by one that was killed before; the number is no process's.
  REQUIRE(::mkdir((room + "/.out.plyfs-999999999").c_str(), 0755) == 0);
  CHECK(call::create(room + "/.out.plyfs-999999999/f", "1") == "ok");
  for (const char* const target : {"/out", "/out.tar.zst"}) {
    for (const int signal : {SIGTERM, SIGINT, SIGKILL}) {
      if (signal == SIGKILL && std::string_view{target} == "/out") {
        continue;  // the next one clears it, see above
      }
      CAPTURE(target, signal);
      const pid_t pid = start({plyfs_program(), "commit", "--upper", room + "/upper", "--lower",
                               room + "/lower", room + target});
      // Once it writes: it has something open below the room.
      const std::string descriptors = "/proc/" + std::to_string(pid) + "/fd";
      while (call::stat(room + target) == "ENOENT" && kill(pid, 0) == 0 &&
             run({"sh", "-c",
                  "ls -l " + descriptors + " | grep -c '" + room + "/.*plyfs-\\|" + room + "/#'"})
                 .out.starts_with("0")) {
      }
      (void)::kill(pid, signal);
      const int code = wait_for(pid, 60);
      CHECK((code == 128 + signal || code == 0));
      const std::vector<std::string> names = names_in(room);
      const bool whole = code == 0;
      CHECK(names.size() == (whole ? 4U : 3U));
      remove_tree(room + target);
    }
  }
  remove_tree(room);
}

TEST_CASE("layers counts what is hidden and what is there twice", "[dump]") {
  Stack stack = Stack{}
                    .lower({file("a", "12345"), file("b", "same!")})
                    .lower({file("a", "123"), file("c", "same!")})
                    .upper();
  stack.build(no_mount());
  const Ran ran = dump({"-o", stack.layer_options(), "--json", "layers"});
  CHECK(ran.exit_code == 0);
  CHECK(contains(ran.out, "\"duplicate_bytes\": 5"));
  CHECK(contains(ran.out,
                 "\"hidden_files\": 1,\n      \"hidden_bytes\": 3,\n      \"shared_files\": 1"));
}

TEST_CASE("verify finds what is wrong, and repairs what is safe", "[dump]") {
  Stack stack =
      Stack{}
          .lower({file("f"), dir("lost").with_xattr(overlay_prefix() + "redirect", "/no")})
          .lower({file("g")})
          .upper({whiteout("nothing"), whiteout("f"), aufs_whiteout("nil")});
  stack.build(no_mount());
  std::filesystem::create_directories(stack.work_path() + "/work");
  std::ofstream{stack.work_path() + "/work/#5"} << "left";
  const Arguments verify = {"-o", stack.layer_options(), "verify"};
  const Ran ran = dump(verify);
  CHECK(ran.exit_code == 4);
  CHECK(contains(ran.out, "repairable: layer upper /nothing: a whiteout (char) over nothing\n"));
  CHECK(contains(ran.out, "repairable: layer upper /nil: a whiteout (aufs) over nothing\n"));
  CHECK(contains(ran.out, "error: layer 1 /lost: a redirect to /no"));
  CHECK(contains(ran.out, "/#5: left over in the work directory"));
  CHECK_FALSE(contains(ran.out, "/f: "));
  Arguments repair = verify;
  repair.emplace_back("--repair");
  CHECK(dump(repair).exit_code == 4);  // the redirect is left
  CHECK_FALSE(std::filesystem::exists(stack.work_path() + "/work/#5"));
  CHECK(stack.upper_picture() == Picture{"f (whiteout)"});
  CHECK(contains(dump(verify).out, "1 left, 0 repaired, 0 remarks\n"));
}

TEST_CASE("compare tells what became of each path between two snapshots", "[dump]") {
  Stack stack = Stack{}.lower({file("f", "1"), file("g")}).upper();
  stack.build(no_mount());
  const std::string room = fresh_directory();
  for (const char* const format : {"", "--json"}) {
    const auto snapshot = [&](const std::string& name) {
      Arguments arguments = {"-o", stack.layer_options(), "snapshot"};
      if (*format != '\0') {
        arguments.emplace_back(format);
      }
      std::ofstream{room + "/" + name} << dump(arguments).out;
    };
    snapshot("before");
    std::ofstream{stack.upper_path("h")} << "new";
    snapshot("after");
    const Ran same = dump({"compare", room + "/before", room + "/before"});
    CHECK(same.out == "");
    CHECK(same.exit_code == 0);
    const Ran ran = dump({"compare", room + "/before", room + "/after"});
    CHECK(ran.exit_code == 0);
    // The root may be listed, too: its times changed.
    CHECK(contains(ran.out, "A /h\n  + "));
    CHECK_FALSE(contains(ran.out, " /f\n"));
    CHECK_FALSE(contains(ran.out, " /g\n"));
    std::filesystem::remove(stack.upper_path("h"));
  }
  CHECK(dump({"compare", "/dev/null", "/dev/null"}).exit_code == 2);
  remove_tree(room);
}

}  // namespace
}  // namespace plyfs::tests
