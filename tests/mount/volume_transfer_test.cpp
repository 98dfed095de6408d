// plyfs volume export and import: what comes back, what is refused, what a crash leaves.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "kill_step.h"
#include "skip.h"
#include "store_host.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

/// Everything that a volume can hold and this user can make, but for sockets.
Items everything() {
  Items items = {file("a/f", "content").with_mode(04751).with_xattr("user.note", "v\1\2"),
                 hardlink("a/b/hard", "a/f"),
                 symlink("a/sym", "f").with_mtime({1'000'000'001, 500'000'000}),
                 hardlink("a/symhard", "a/sym"),
                 fifo("p"),
                 dir("empty").with_mode(01755).with_mtime({2'000'000'000, 1}),
                 file("closed/r", "r").with_mode(0400),
                 file("before-1970", "").with_mtime({-5, 250'000'000}),
                 file("\xc3\xbc b/n\xff", "bytes"),
                 file("hole", "head").with_size(5 << 20),
                 file("allhole", "").with_size(3 << 20),
                 file("long/" + std::string(200, 'x') + "/" + std::string(200, 'y'), "long"),
                 file("big", pattern(3 << 20, 7))};
  if (is_root()) {
    items.push_back(device("c", S_IFCHR, 5, 1));
    items.push_back(device("w", S_IFCHR, 0, 0));
    items.push_back(file("owned", "o").with_owner(12, 3'000'000));
    items.push_back(file("trusted", "t").with_xattr("trusted.t", "1"));
    items.push_back(dir("ours").with_owner(7, 8).with_mode(02770));
  }
  return items;
}

void make_everything(const std::string& root) {
  make(root, everything());
  REQUIRE(run({"setfacl", "-m", "u:1:rw,g:5:r,m:rwx", root + "/a/f"}).exit_code == 0);
  REQUIRE(run({"setfacl", "-d", "-m", "u:7:rwx", root + "/empty"}).exit_code == 0);
  REQUIRE(call::chmod(root + "/closed", 0500) == "ok");
  REQUIRE(call::chmod(root, 0750) == "ok");
  const timespec old = {1'111'111'111, 222'222'222};
  for (const char* path : {"/empty", "/a", "/big", ""}) {
    REQUIRE(call::utimens(root + path, old, old) == "ok");
  }
}

std::string write_tar(const Host& host, const std::string& script) {
  const std::string path = host("made.tar");
  const Ran ran = run({"python3", "-c",
                       "import tarfile, io, sys\n"
                       "t = tarfile.open(sys.argv[1], 'w', format=tarfile.GNU_FORMAT)\n"
                       "def put(name, kind=tarfile.REGTYPE, link='', data=b'x'):\n"
                       "  i = tarfile.TarInfo(name)\n"
                       "  i.type, i.linkname = kind, link\n"
                       "  i.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644\n"
                       "  i.size = len(data) if kind == tarfile.REGTYPE else 0\n"
                       "  t.addfile(i, io.BytesIO(data) if i.size else None)\n" +
                           script + "\nt.close()\n",
                       path});
  REQUIRE(said(ran) == "0 ");
  return path;
}

/// What lies beside a volume's content, but for the locks.
Picture beside_data(const Host& host, const std::string& volume) {
  Picture names = sorted_names(host("home/volumes/" + volume));
  std::erase_if(names, [](const std::string& name) { return name.ends_with(".lock"); });
  return names;
}

const Picture kOnlyData = {"_data", "volume.json"};

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST_CASE("a volume comes back from its tar with everything", "[transfer][store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make_everything(host.data("web"));
  const Dump before = full_dump(host.data("web"));
  const Picture names = picture(host.data("web"));
  int n = 0;
  for (const std::string end : {".tar", ".tar.gz", ".tar.zst"}) {
    const std::string copy = "copy" + std::to_string(++n);
    CHECK_DONE(host.plyfs({"volume", "export", "web", "-o", host("w" + end)}), "");
    CHECK_DONE(host.plyfs({"volume", "create", copy}), copy + "\n");
    CHECK_DONE(host.plyfs({"volume", "import", copy, "-i", host("w" + end)}), "");
    CHECK(picture(host.data(copy)) == names);
    CHECK(difference(before, full_dump(host.data(copy))).empty());
    CHECK(status(host.data(copy) + "/a/f").st_ino == status(host.data(copy) + "/a/b/hard").st_ino);
    CHECK(status(host.data(copy) + "/hole").st_blocks < 100);
    CHECK(status(host.data(copy) + "/allhole").st_blocks < 100);
    CHECK(beside_data(host, copy) == kOnlyData);
    CHECK(host.plyfs({"volume", "inspect", copy}).out.find("\"FilledAt\": \"\"") ==
          std::string::npos);
  }
  CHECK(status(host("w.tar")).st_size < (4 << 20));  // without the holes
  CHECK(difference(before, full_dump(host.data("web"))).empty());
  // The way through a pipe, as between two machines.
  CHECK_DONE(host.plyfs({"volume", "create", "piped"}), "piped\n");
  std::string line;
  for (const Arguments& side : {host.command({"volume", "export", "web"}), Arguments{"|"},
                                host.command({"volume", "import", "piped", "-i", "-"})}) {
    for (const std::string& word : side) {
      line += word == "|" ? "| " : "'" + word + "' ";
    }
  }
  CHECK_DONE(run({"bash", "-o", "pipefail", "-c", line}), "");
  CHECK(difference(before, full_dump(host.data("piped"))).empty());
}

TEST_CASE("GNU tar reads an export, and import reads GNU tar", "[transfer][store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make_everything(host.data("web"));
  // A name that is no UTF-8 gets a header of which tar warns.
  CHECK(call::unlink(host.data("web") + "/\xc3\xbc b/n\xff") == "ok");
  CHECK(call::unlink(host.data("web") + "/before-1970") == "ok");  // likewise
  const Dump before = full_dump(host.data("web"));
  CHECK_DONE(host.plyfs({"volume", "export", "web", "-o", host("w.tar")}), "");
  make(host("by-tar"), {});
  CHECK_DONE(run({"tar", "--acls", "--xattrs", "--xattrs-include=*", "-xpf", host("w.tar"), "-C",
                  host("by-tar")}),
             "");
  CHECK(difference(before, full_dump(host("by-tar"))).empty());
  int n = 0;
  for (const std::string format : {"pax", "gnu"}) {
    const std::string copy = "copy" + std::to_string(++n);
    CHECK_DONE(run({"tar", "--format=" + format, "--sparse", "--acls", "--xattrs",
                    "--xattrs-include=*", "-czf", host("g.tgz"), "-C", host.data("web"), "."}),
               "");
    CHECK_DONE(host.plyfs({"volume", "create", copy}), copy + "\n");
    CHECK_DONE(host.plyfs({"volume", "import", copy, "-i", host("g.tgz")}), "");
    if (format == "pax") {
      CHECK(difference(before, full_dump(host.data(copy))).empty());
    } else {  // whole seconds; no xattrs and ACLs
      CHECK(picture(host.data(copy)) == picture(host.data("web")));
      CHECK(status(host.data(copy) + "/hole").st_blocks < 100);
    }
  }
}

TEST_CASE("an export is the same whatever is shown of its progress", "[transfer][store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make_everything(host.data("web"));
  const auto with = [&](const std::string& progress) {
    return host.command(
        {"volume", "export", "web", "-o", host(progress + ".tar"), "--progress", progress});
  };
  // Not byte by byte: reading moves atimes.
  const auto listed = [&](const std::string& progress) {
    return run({"tar", "--full-time", "-tvf", host(progress + ".tar")}).out;
  };
  CHECK_DONE(run(with("none")), "");
  const std::string whole = listed("none");
  CHECK(std::count(whole.begin(), whole.end(), '\n') > 5);
  CHECK(run(with("plain")).exit_code == 0);
  CHECK(listed("plain") == whole);
  std::string line;
  for (const std::string& word : with("auto")) {
    line += "'" + word + "' ";
  }
  const Ran on_terminal = run({"script", "-qec", line, "/dev/null"});
  INFO(on_terminal.out);
  CHECK(on_terminal.exit_code == 0);
  CHECK(listed("auto") == whole);
}

TEST_CASE("a socket is left out of an export, and that is told", "[transfer][store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make(host.data("web"), {socket_node("d/s"), file("f", "1")});
  CHECK(said(host.plyfs({"volume", "export", "web", "-o", host("w.tar")})) ==
        "0 plyfs: left out: d/s: a socket; no tar can hold it\n");
  CHECK(run({"tar", "-tf", host("w.tar")}).out == "./\nd/\nf\n");
}

TEST_CASE("what an archive may not do is refused, and nothing is changed", "[transfer][store]") {
  struct Hostile {
    const char* script;
    const char* subject;
  };
  static const Hostile kHostile[] = {
      {"put('ok'); put('/abs')", "/abs"},
      {"put('ok'); put('../up')", "../up"},
      {"put('ok'); put('a/../../up')", "a/../../up"},
      {"put('l', tarfile.SYMTYPE, '/tmp'); put('l/x')", "l/x"},
      {"put('l', tarfile.SYMTYPE, '.'); put('l/x')", "l/x"},
      {"put('f'); put('f/x')", "f/x"},
      {"put('d', tarfile.DIRTYPE); put('l', tarfile.SYMTYPE, 'd'); put('l', tarfile.DIRTYPE);"
       "put('m', tarfile.SYMTYPE, '../..'); put('m/x', tarfile.DIRTYPE)",
       "m/x/"},
      {"put('h', tarfile.LNKTYPE, '/etc/passwd')", "h"},
      {"put('h', tarfile.LNKTYPE, '../../volume.json')", "h"},
      {"put('h', tarfile.LNKTYPE, 'absent')", "h"},
      {"put('l', tarfile.SYMTYPE, '/etc'); put('h', tarfile.LNKTYPE, 'l/passwd')", "h"},
      {"put('h', tarfile.LNKTYPE, '.')", "h"},
      {"put('d', tarfile.DIRTYPE); put('d')", "d"},
      {"put('.')", "."},
  };
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  CHECK(call::chmod(host.data("web"), 0751) == "ok");
  const Dump before = full_dump(host.data("web"));
  for (const Hostile& hostile : kHostile) {
    INFO(hostile.script);
    const Ran ran = host.plyfs({"volume", "import", "web", "-i", write_tar(host, hostile.script)});
    CHECK(ran.exit_code == 2);
    CHECK(ran.err.starts_with(std::string{"plyfs: cannot import: "} + hostile.subject + ": "));
    CHECK(ran.err.ends_with("nothing was changed\n"));
    CHECK(difference(before, full_dump(host.data("web"))).empty());
    CHECK(beside_data(host, "web") == kOnlyData);
  }
  CHECK(!exists(host("home/volumes/web/up")));
  CHECK(!exists("/tmp/x"));
}

TEST_CASE("what is odd in an archive, but harmless, is taken", "[transfer][store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  REQUIRE(call::chmod(host.data("web"), 0751) == "ok");
  // Parents without an entry, a name twice, a link in place of a directory's later content.
  const std::string tar =
      write_tar(host,
                "put('./x//y/./z'); put('twice', data=b'old'); put('twice', data=b'new')\n"
                "put('l', tarfile.SYMTYPE, '/etc'); put('l', tarfile.DIRTYPE); put('l/in')\n"
                "put('out', tarfile.SYMTYPE, '../../..'); put('hard', tarfile.LNKTYPE, 'out')");
  CHECK_DONE(host.plyfs({"volume", "import", "web", "-i", tar}), "");
  CHECK(picture(host.data("web")) == Picture{"hard->../../..", "l/", "l/in=x", "out->../../..",
                                             "twice=new", "x/", "x/y/", "x/y/z=x"});
  CHECK(permissions(host.data("web")) == 0751);
  // An archive of nothing is one.
  CHECK_DONE(host.plyfs({"volume", "create", "none"}), "none\n");
  CHECK_DONE(host.plyfs({"volume", "import", "none", "-i", write_tar(host, "")}), "");
  CHECK(picture(host.data("none")).empty());
}

TEST_CASE("a truncated or damaged archive changes nothing", "[transfer][store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make(host.data("web"), {file("a", "1"), file("b", std::string(1500, 'b')), file("c", "")});
  for (const std::string end : {".tar", ".tar.gz", ".tar.zst"}) {
    CHECK_DONE(host.plyfs({"volume", "export", "web", "-o", host("w" + end)}), "");
  }
  const Dump before = full_dump(host.data("web"));
  const auto refused = [&](const std::string& bytes, const std::string& what) {
    INFO(what);
    write_bytes(host("cut"), bytes);
    const Ran ran = host.plyfs({"volume", "import", "--force", "web", "-i", host("cut")});
    CHECK(ran.exit_code == 2);
    CHECK(ran.err.starts_with("plyfs: cannot read the archive: " + host("cut") + ": "));
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
    CHECK(difference(before, full_dump(host.data("web"))).empty());
    CHECK(beside_data(host, "web") == kOnlyData);
  };
  const std::string whole = bytes_of(host("w.tar"));
  const std::size_t end = whole.find_last_not_of('\0') / 512 * 512 + 512;
  for (std::size_t size = 0; size <= end; size += 256) {
    refused(whole.substr(0, size), "tar of " + std::to_string(size));
  }
  for (const std::string kind : {"gz", "zst"}) {
    const std::string packed = bytes_of(host("w.tar." + kind));
    for (std::size_t size = 0; size < packed.size() - 20; size += packed.size() / 7) {
      refused(packed.substr(0, size), kind + " of " + std::to_string(size));
    }
  }
  std::string damaged = whole;
  damaged[whole.find("b", 512)] = 'B';  // a name in a header, whose sum is wrong now
  refused(damaged, "damaged header");
  refused("this is no archive\n", "text");
  // With one block of its end it is whole.
  write_bytes(host("cut"), whole.substr(0, end + 512));
  CHECK_DONE(host.plyfs({"volume", "import", "--force", "web", "-i", host("cut")}), "");
  CHECK(difference(before, full_dump(host.data("web"))).empty());
}

TEST_CASE("an import wants an empty volume, or --force, which replaces all of it",
          "[transfer][store]") {
  Host host({});
  for (const char* name : {"web", "other"}) {
    CHECK_DONE(host.plyfs({"volume", "create", name}), std::string{name} + "\n");
  }
  make(host.data("web"), {file("new", "1")});
  make(host.data("other"), {file("old", "2"), dir("d/e")});
  CHECK_DONE(host.plyfs({"volume", "export", "web", "-o", host("w.tar")}), "");
  CHECK(said(host.plyfs({"volume", "import", "other", "-i", host("w.tar")})) ==
        "2 plyfs: cannot import into volume: other: Directory not empty; --force replaces all that "
        "is in it; or import into a new volume\n");
  CHECK(picture(host.data("other")) == Picture{"d/", "d/e/", "old=2"});
  CHECK_DONE(host.plyfs({"volume", "import", "-f", "other", "-i", host("w.tar")}), "");
  CHECK(picture(host.data("other")) == Picture{"new=1"});
  CHECK(beside_data(host, "other") == kOnlyData);
  CHECK(host.plyfs({"volume", "import", "none", "-i", host("w.tar")}).err ==
        "plyfs: no such volume: none: No such file or directory; 'plyfs volume ls' shows those "
        "there are; 'plyfs volume create none' makes it\n");
}

TEST_CASE("wrong calls of export and import are refused", "[transfer][store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  const auto refused = [&](const Arguments& arguments, int exit_code) {
    const Ran ran = host.plyfs(arguments);
    CHECK(ran.exit_code == exit_code);
    CHECK(ran.out.empty());
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
  };
  refused({"volume", "export", "web", "-o", host("w.zip")}, 1);
  refused({"volume", "export", "web", "-o", host("none/w.tar")}, 2);
  refused({"volume", "export", "none"}, 2);
  refused({"volume", "export", "../web"}, 1);
  refused({"volume", "export"}, 1);
  refused({"volume", "export", "web", "--progress=often", "-o", host("w.tar")}, 1);
  refused({"volume", "import", "web", "-i", host("none.tar")}, 2);
  refused({"volume", "import", "web", "-i", host("image")}, 2);
  CHECK(!exists(host("w.tar")));
  // Not on a terminal: script(1) gives the command one.
  std::string line;
  for (const std::string& word : host.command({"volume", "export", "web"})) {
    line += "'" + word + "' ";
  }
  const Ran typed = run({"script", "-qec", line, "/dev/null"});
  if (typed.exit_code == 127) {
    return skip("script(1) is not installed");
  }
  CHECK(typed.exit_code == 1);
  CHECK(typed.out.find("cannot export to: a terminal: ") != std::string::npos);
}

TEST_CASE("a volume in use is exported, but not imported into", "[transfer][store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("srv/page", "1")});
  CHECK_DONE(host.mount("a", {"-v", "web:/srv"}), "");
  CHECK_DONE(host.plyfs({"volume", "export", "web", "-o", host("w.tar")}), "");
  CHECK(run({"tar", "-tf", host("w.tar")}).out == "./\npage\n");
  const std::string at = host.in("a", "").substr(0, host.in("a", "").size() - 1);
  CHECK(said(host.plyfs({"volume", "import", "-f", "web", "-i", host("w.tar")})) ==
        "2 plyfs: cannot import into volume: web: Device or resource busy; it is in use by a at " +
            at + ": unmount that first\n");
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  CHECK(call::append(host.data("web") + "/page", "+") == "ok");
  CHECK_DONE(host.plyfs({"volume", "import", "-f", "web", "-i", host("w.tar")}), "");
  CHECK_DONE(host.mount("a", {"-v", "web:/srv"}), "");
  CHECK(content(host.in("a", "srv/page")) == "1");
}

TEST_CASE("an import that waits for its archive keeps others off", "[transfer][store]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  REQUIRE(::mkfifo(host("pipe").c_str(), 0600) == 0);
  const pid_t importer = start(host.command({"volume", "import", "web", "-i", host("pipe")}));
  File pipe(host("pipe"), O_WRONLY);  // waits until the other side has opened it, and all locks
  CHECK(said(host.plyfs({"volume", "rm", "-f", "web"})) ==
        "2 plyfs: cannot remove volume: web: Device or resource busy; it is being exported or "
        "imported: wait until that is done\n");
  CHECK(host.plyfs({"volume", "export", "web", "-o", host("w.tar")}).exit_code == 2);
  CHECK(said(host.plyfs({"volume", "import", "web", "-i", host("none")})) ==
        "2 plyfs: cannot import into volume: web: Device or resource busy; another command exports "
        "or imports it: wait for that\n");
  CHECK(pipe.write(bytes_of(write_tar(host, "put('f')"))) == "ok");
  CHECK(pipe.close() == "ok");
  CHECK(wait_for(importer, 60) == 0);
  CHECK(picture(host.data("web")) == Picture{"f=x"});
}

TEST_CASE("an import that is killed leaves the volume as before or as the archive",
          "[transfer][store][crash]") {
  Host host({});
  for (const char* name : {"from", "web"}) {
    CHECK_DONE(host.plyfs({"volume", "create", name}), std::string{name} + "\n");
  }
  make(host.data("from"), {file("d/f", "1"), hardlink("d/g", "d/f"), symlink("l", "d"), fifo("p")});
  CHECK_DONE(host.plyfs({"volume", "export", "from", "-o", host("w.tar")}), "");
  const Dump after = full_dump(host.data("from"));
  const Items old = {file("old", "2"), dir("d/e")};
  make(host.data("web"), old);
  const Dump before = full_dump(host.data("web"));
  unsigned seen_after = 0;
  const unsigned kills = kill_at_every_change(
      host.command({"volume", "import", "-f", "web", "-i", host("w.tar")}), [&](unsigned step) {
        INFO("killed at change " << step);
        CHECK_DONE(host.plyfs({"volume", "ls", "-q"}), "from\nweb\n");
        const Dump now = full_dump(host.data("web"));
        CHECK((now == before || now == after));
        CHECK(beside_data(host, "web") == kOnlyData);
        if (now == after) {
          ++seen_after;
          remove_tree(host.data("web"));
          make(host.data("web"), old);
        }
      });
  CHECK(kills > 20);
  CHECK(seen_after > 0);
  CHECK(full_dump(host.data("web")) == after);
}

TEST_CASE("an export that is killed leaves no tar under that name", "[transfer][store][crash]") {
  Host host({});
  CHECK_DONE(host.plyfs({"volume", "create", "web"}), "web\n");
  make(host.data("web"), {file("d/f", "1")});
  const auto is_whole = [&] {
    return said(run({"tar", "-tf", host("w.tar")})) == "0 ./\nd/\nd/f\n";
  };
  const unsigned kills = kill_at_every_change(
      host.command({"volume", "export", "web", "-o", host("w.tar")}), [&](unsigned step) {
        INFO("killed at change " << step);
        CHECK((!exists(host("w.tar")) || is_whole()));
      });
  CHECK(kills > 3);
  CHECK(is_whole());
}

}  // namespace
}  // namespace plyfs::tests
