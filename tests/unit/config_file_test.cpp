// --config and --save: what a file says, what it may not say, and that what is saved comes back.
#include "config/config_file.h"

#include <fstream>
#include <string>
#include <vector>

#include "catch.h"
#include "described.h"
#include "workspace.h"

namespace plyfs::config {
namespace {

struct Read {
  CommandLine line;
  std::string failure;
  int exit_code = 0;
};

Read read(const std::string& text, const std::string& path = "/etc/plyfs/web.toml") {
  Read result;
  if (const auto failure = apply_config(text, path, "/here", result.line)) {
    result.failure = failure->what;
    result.exit_code = failure->exit_code;
  }
  return result;
}

CommandLine command(std::vector<const char*> arguments) {
  return parse_command_line(arguments, Surroundings{.caller = Caller::kOrdinary,
                                                    .directory = "/here",
                                                    .compatible_whiteout = WhiteoutFamily::kProbe});
}

constexpr const char* kWhole = R"(
# every key
name = "web"
mountpoint = "merged"
data = ["../data"]
lower = ["top", "/layers/base"]
upper = "up"
work = "wo,rk"
volumes = ["./site:/srv:ro", "logs:/var/log:nocopy", "/scratch", "/abs:/x", "d:/d:subpath=a/b"]
volumes-from = ["other:ro"]
strict-volumes = true
foreground = true

[options]
metacopy = false
redirect_dir = true
noacl = true
ro = false
nodev = true
noatime = false
whiteout = "aufs"
threads = 3
timeout = 1.5
uidmapping = "0:1000:1"
fsname = 'a,"b\c'
)";

TEST_CASE("a configuration file says what a call can say", "[config][file]") {
  const Read whole = read(kWhole);
  REQUIRE(whole.failure.empty());
  const MountOptions& options = whole.line.options;
  CHECK(describe(options) ==
        "lower(/etc/plyfs/top) lower(/layers/base) data(/etc/plyfs/../data) upper(/etc/plyfs/up) "
        "work(/etc/plyfs/wo,rk) whiteout=3 metacopy=0 acl=0 uids[disk 0 shown 1000 x1] "
        "timeout=1.5 threads=3 nodev name(a,\"b\\c,plyfs)");
  CHECK(describe_volumes(options) ==
        "bind /etc/plyfs/./site to /srv ro, named logs to /var/log nocopy, anonymous  to /scratch, "
        "bind /abs to /x, named d to /d subpath a/b, from other ro");
  CHECK(options.name == "web");
  CHECK(options.mountpoint == "/etc/plyfs/merged");
  CHECK(options.strict_volumes);
  CHECK(options.foreground);
  CHECK(read("").failure.empty());
}

TEST_CASE("paths in a file are relative to the file", "[config][file]") {
  CHECK(read("upper = 'up'", "conf/x.toml").line.options.upper == "/here/conf/up");
  CHECK(read("upper = 'up'", "x.toml").line.options.upper == "/here/up");
  const Read odd = read("volumes = ['../s:/s']", "/a:b\\c/x.toml");
  CHECK(describe_volumes(odd.line.options) == "bind /a:b\\c/../s to /s");
}

TEST_CASE("a mistake in a file is told with its line", "[config][file]") {
  struct Mistake {
    const char* text;
    int line;
    const char* part;
  };
  const std::vector<Mistake> mistakes = {
      {"name = 'a'\nlowers = ['x']", 2, "unknown key 'lowers': the known keys are name, "},
      {"name = 'a'\n[more]\nx = 1", 2, "unknown key 'more'"},
      {"\n\nname = 'a b'", 3, "bad name of a mount: a b: "},
      {"name = 3", 1, "name is a text in quotes"},
      {"upper = ''", 1, "upper is a text in quotes"},
      {"lower = 'a'", 1, "lower is a list: "},
      {"lower = ['a',\n 'b',\n 3]", 3, "lower is a list of texts"},
      {"lower = ['a',\n '']", 2, "bad layer: (empty path): "},
      {"data = ['a']", 1, "bad layer order: "},
      {"volumes = ['a:/b',\n'b:c']", 2, "bad volume: b:c: "},
      {"volumes = ['a:/b',\n'c:/b']", 2, "two volumes at one path: /b: "},
      {"volumes-from = ['a:rx']", 1, "bad --volumes-from: a:rx: "},
      {"strict-volumes = 'yes'", 1, "strict-volumes is true or false"},
      {"options = 'ro'", 1, "write the options as a table"},
      {"[options]\nbogus = 1", 2, "unknown option: bogus=1: "},
      {"[options]\nbogus = false", 2, "unknown option: bogus: "},
      {"[options]\n\nmetacopy = 'maybe'", 3, "bad option value: metacopy=maybe: "},
      {"[options]\nlowerdir = 'a'", 2, "'lowerdir' has a key of its own"},
      {"[options]\nvolume = '/a'", 2, "'volume' has a key of its own"},
      {"[options]\n'ro,metacopy' = true", 2, "is no word of -o"},
      {"[options]\nthreads = [1]", 2, "an option is a text, a number, true or false"},
      {"name = 'a'\nname = 'b'", 2, ""},
      {"name = 'a\nx = 1", 1, ""},
      {"upper = \"\\u0000\"", 1, "upper is a text in quotes"},
      {"upper = '\xff'", 1, ""},
  };
  for (const Mistake& mistake : mistakes) {
    INFO(mistake.text);
    const Read wrong = read(mistake.text);
    CHECK(wrong.exit_code == 1);
    CHECK(wrong.failure.starts_with(
        "bad configuration: /etc/plyfs/web.toml:" + std::to_string(mistake.line) + ": "));
    CHECK(wrong.failure.find(mistake.part) != std::string::npos);
    CHECK(wrong.failure.find('\n') == std::string::npos);
  }
}

TEST_CASE("the command line adds to a file and has the last word", "[config][file][cli]") {
  const test::Workspace space;
  const std::string path = space.path("web.toml");
  std::ofstream(path) << "mountpoint = 'm'\nname = 'web'\nlower = ['base']\ndata = ['d']\n"
                         "upper = 'up'\nwork = 'w'\nvolumes = ['logs:/log', 'old:/srv']\n"
                         "volumes-from = ['a']\n[options]\nmetacopy = false\nthreads = 2\n";
  const std::string at = space.path();
  const CommandLine as_is = command({"plyfs", "mount", "--config", path.c_str()});
  REQUIRE(as_is.action == Action::kMount);
  CHECK(as_is.options.mountpoint == at + "/m");
  CHECK(describe(as_is.options) == "lower(" + at + "/base) data(" + at + "/d) upper(" + at +
                                       "/up) work(" + at + "/w) metacopy=0 threads=2");
  const CommandLine more =
      command({"plyfs", "mount", "--config", path.c_str(), "--lower", "patch", "--upper", "up2",
               "--name", "two", "-v", "new:/srv:ro", "-v", "/tmp", "--volumes-from", "b", "-o",
               "metacopy=on,datadir+=e", "here"});
  REQUIRE(more.action == Action::kFail);  // datadir+ before any lower, as without a file
  const CommandLine again = command({"plyfs", "mount", "--config", path.c_str(), "--lower", "patch",
                                     "--upper", "up2", "--name", "two", "-v", "new:/srv:ro", "-v",
                                     "/tmp", "--volumes-from", "b", "-o", "metacopy=on", "here"});
  REQUIRE(again.action == Action::kMount);
  CHECK(describe(again.options) == "lower(patch) lower(" + at + "/base) data(" + at +
                                       "/d) upper(up2) work(up2.work) threads=2");
  CHECK(describe_volumes(again.options) ==
        "named new to /srv ro, anonymous  to /tmp, named logs to /log, from a, from b");
  CHECK(again.options.name == "two");
  CHECK(again.options.mountpoint == "/here/here");
  const CommandLine missing = command({"plyfs", "mount", "--config", "/none.toml", "m"});
  CHECK(missing.failure.exit_code == 2);
  CHECK(missing.failure.what ==
        "cannot read the configuration: /none.toml: No such file or directory; name a file that "
        "you may read");
  CHECK(command({"plyfs", "mount", "--lower", "a", "--save", "x", "m"}).save == "/here/x");
}

TEST_CASE("a file may be named in fstab, and be checked", "[config][file][cli]") {
  const test::Workspace space;
  const std::string path = space.path("we,b.toml");
  std::ofstream(path) << "mountpoint = 'm'\nname = 'web'\nlower = ['base']\nupper = 'up'\n"
                         "volumes = ['logs:/log']\n[options]\nthreads = 2\n";
  const std::string at = space.path();
  const std::string word = "rw,nofail,config=" + at + "/we\\,b.toml,metacopy=off";
  // As mount(8) calls: SOURCE MOUNTPOINT -o ...
  const CommandLine fstab = command({"mount.fuse.plyfs", "web", "/merged", "-o", word.c_str()});
  REQUIRE(fstab.action == Action::kMount);
  CHECK(describe(fstab.options) == "lower(" + at + "/base) upper(" + at + "/up) work(" + at +
                                       "/up.work) metacopy=0 threads=2");
  CHECK(describe_volumes(fstab.options) == "named logs to /log");
  CHECK(fstab.options.name == "web");
  CHECK(fstab.options.mountpoint == "/merged");
  CHECK(fstab.warnings.empty());
  CHECK(command({"plyfs", "mount", "-o", word.c_str()}).options.mountpoint == at + "/m");
  for (const char* const option : {"--config", "-o"}) {
    const std::string file = option[1] == 'o' ? word : path;
    const CommandLine check = command({"plyfs", "check", option, file.c_str(), "--lower", "patch"});
    REQUIRE(check.action == Action::kCheck);
    CHECK(check.options.lowers.size() == 2);
    CHECK(check.options.mountpoint == at + "/m");
  }
  CHECK(command({"mount.fuse.plyfs", "web", "/m", "-o", "config=/none.toml"}).failure.exit_code ==
        2);
  CHECK(command({"plyfs", "mount", "-o", "config=", "m"}).action == Action::kFail);
}

TEST_CASE("what is saved comes back the same", "[config][file]") {
  const CommandLine first = command(
      {"plyfs",
       "mount",
       "--name",
       "web",
       "--lower",
       "/a:b",
       "--lower",
       "/c,d",
       "--upper",
       "/u",
       "-v",
       "/h\\:h:/x:ro",
       "-v",
       "n:/y:nocopy,subpath=s/t",
       "-v",
       "/anon",
       "--strict-volumes",
       "-o",
       "whiteout=xattr,xattr=user,fsync=strict,xino=on,volume_mode=fuse,ro,redirect_dir=off,"
       "metacopy=off,index=off,writeback=off,noacl,noxattrs,uidmapping=5:6:7:100:200:3,"
       "gidmapping=1:2:3,squash_to_uid=9,squash_to_gid=8,timeout=0.25,threads=4,fsname=x\\,y,"
       "subtype=z,nodev,noexec,datadir+=/dd",
       "/m"});
  // -o comes before --lower, so the data-only layer goes on top and is refused: leave it out.
  REQUIRE(first.action == Action::kFail);
  CommandLine call = command(
      {"plyfs", "mount", "--name", "web", "--upper", "/u", "-v", "/h\\:h:/x:ro", "-v",
       "n:/y:nocopy,subpath=s/t", "-v", "/anon", "--strict-volumes", "-o",
       "lowerdir=/a\\:b:/c\\,d::/dd,"
       "whiteout=xattr,xattr=user,fsync=strict,xino=on,volume_mode=fuse,ro,redirect_dir=off,"
       "metacopy=off,index=off,writeback=off,noacl,noxattrs,uidmapping=5:6:7:100:200:3,"
       "gidmapping=1:2:3,squash_to_uid=9,squash_to_gid=8,timeout=0.25,threads=4,fsname=x\\,y,"
       "subtype=z,nodev,noexec",
       "/m"});
  REQUIRE(call.action == Action::kMount);
  const auto text = config_text(call.options);
  REQUIRE(text);
  const Read back = read(*text);
  INFO(*text);
  REQUIRE(back.failure.empty());
  CHECK(describe(back.line.options) == describe(call.options));
  CHECK(describe_volumes(back.line.options) == describe_volumes(call.options));
  CHECK(back.line.options.volume_mode == VolumeMode::kFuse);
  CHECK(back.line.options.strict_volumes);
  CHECK(back.line.options.name == "web");
  CHECK(back.line.options.mountpoint == "/m");
  CHECK(*config_text(back.line.options) == *text);
}

TEST_CASE("volumes that were taken over are saved as they were then", "[config][file]") {
  CommandLine call = command(
      {"plyfs", "mount", "--lower", "/a", "-v", "/own:/own", "--volumes-from", "web:ro", "/m"});
  const std::string home = "/var/lib/plyfs/volumes/";
  call.options.volumes = {{"/own", "/own", false, "", "", false, false},
                          {"/site", "/srv", true, "", "", false, false},
                          {home + "logs/_data", "/log", true, "logs", "", false, false},
                          {home + "deep/_data", "/deep", true, "deep", "a/b", false, false}};
  const Read back = read(config_text(call.options).value_or("?"));
  CHECK(describe_volumes(back.line.options) ==
        "bind /own to /own, bind /site to /srv ro, named logs to /log ro, "
        "named deep to /deep ro subpath a/b");
}

TEST_CASE("a path that is not UTF-8 cannot be saved, and that is told", "[config][file]") {
  MountOptions options;
  options.mountpoint = "/m";
  options.lowers.push_back({"/a\xff", false});
  CHECK_FALSE(config_text(options).has_value());
  const test::Workspace space;
  const auto failure = save_config(space.path("x.toml"), options);
  REQUIRE(failure);
  CHECK(failure->exit_code == 1);
  options.lowers = {{"/a", false}};
  CHECK_FALSE(save_config(space.path("x.toml"), options).has_value());
  CHECK(save_config(space.path("none/x.toml"), options)->exit_code == 32);
}

}  // namespace
}  // namespace plyfs::config
