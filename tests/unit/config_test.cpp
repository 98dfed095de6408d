// The option string and the command line: pure text, no files.
#include <cstddef>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "catch.h"
#include "config/cli.h"
#include "config/option_text.h"
#include "config/options_parser.h"
#include "described.h"

namespace plyfs::config {
namespace {

struct Parsed {
  MountOptions options;
  Warnings warnings;
  std::optional<Failure> failure;
};

Parsed parse(const std::string& text, UnknownWords unknown = UnknownWords::kRefuse) {
  Parsed parsed;
  parsed.failure = parse_options(text, unknown, parsed.options, parsed.warnings);
  return parsed;
}

struct Case {
  std::string text;
  std::string expected;
};

TEST_CASE("each word of an option string sets what it names", "[config]") {
  const std::vector<Case> cases{
      {"", ""},
      {",,,", ""},
      {"lowerdir=/a", "lower(/a)"},
      {"lowerdir=/a:/b/../c:d", "lower(/a) lower(/b/../c) lower(d)"},
      {"lowerdir=/a::/d1::/d2", "lower(/a) data(/d1) data(/d2)"},
      {"lowerdir=/a:/b::/d", "lower(/a) lower(/b) data(/d)"},
      {"lowerdir+=/a,lowerdir+=/b,datadir+=/d", "lower(/a) lower(/b) data(/d)"},
      {"lowerdir+=/a:b", "lower(/a:b)"},
      {"lowerdir=/a,lowerdir=/b", "lower(/b)"},
      {"lowerdir=/a,lowerdir=", ""},
      {"lowerdir=/a,upperdir=/u,workdir=/w", "lower(/a) upper(/u) work(/w)"},
      {"lowerdir=/a,,upperdir=/u,", "lower(/a) upper(/u)"},
      {"ro", "ro=1"},
      {"ro,rw", ""},
      {"redirect_dir=off", "redirect_dir=0"},
      {"redirect_dir=nofollow", "redirect_dir=0"},
      {"redirect_dir=follow", "redirect_dir=0"},
      {"redirect_dir=off,redirect_dir=on", ""},
      {"metacopy=off,index=off", "metacopy=0 index=0"},
      {"metacopy=on,index=on", ""},
      {"xino=on", "xino=1"},
      {"xino=off", "xino=2"},
      {"xino=auto", ""},
      {"volatile", "sync=2"},
      {"fsync=volatile", "sync=2"},
      {"fsync=0", "sync=2"},
      {"sync=0", "sync=2"},
      {"fsync=strict", "sync=1"},
      {"volatile,fsync=auto", ""},
      {"volatile,fsync=1", ""},
      {"whiteout=char", "whiteout=1"},
      {"whiteout=xattr", "whiteout=2"},
      {"whiteout=aufs", "whiteout=3"},
      {"whiteout=aufs,whiteout=auto", ""},
      {"xattr=trusted", "xattr=1"},
      {"xattr=user", "xattr=2"},
      {"userxattr", "xattr=2"},
      {"noacl", "acl=0"},
      {"noacl,acl", ""},
      {"noxattrs", "xattrs=0"},
      {"noxattrs=1", "xattrs=0"},
      {"noxattrs=0", ""},
      {"writeback=0", "writeback=0"},
      {"writeback=1", ""},
      {"timeout=0", "timeout=0"},
      {"timeout=1.5", "timeout=1.5"},
      {"timeout=1e300", ""},
      {"threads=4", "threads=4"},
      {"threaded=0", "threads=1"},
      {"threaded=1", ""},
      {"debug", "debug=1"},
      {"uidmapping=:0:100000:65536", "uids[disk 0 shown 100000 x65536]"},
      {"gidmapping=0:5:1:1:7:2", "gids[disk 0 shown 5 x1] gids[disk 1 shown 7 x2]"},
      {"uidmapping=,gidmapping=", ""},
      {"uidmapping", ""},
      {"squash_to_root", "squash_uid=0 squash_gid=0"},
      {"squash_to_root,squash_to_root=0", ""},
      {"squash_to_uid=1000,squash_to_gid=1001", "squash_uid=1000 squash_gid=1001"},
      {"fsname=x,subtype=y", "name(x,y)"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const Parsed parsed = parse(c.text);
    CHECK_FALSE(parsed.failure.has_value());
    CHECK(parsed.warnings.empty());
    CHECK(describe(parsed.options) == c.expected);
  }
}

TEST_CASE("escapes and quotes protect commas, colons and bytes", "[config]") {
  const std::vector<Case> cases{
      {R"(lowerdir=/a\:b:/c\,d)", "lower(/a:b) lower(/c,d)"},
      {R"(lowerdir=/a\\:/b)", R"(lower(/a\) lower(/b))"},
      {R"(lowerdir=/a\040b:/c\072d\054e)", "lower(/a b) lower(/c:d,e)"},
      {R"(lowerdir=/a\400b)", "lower(/a400b)"},  // more than a byte: not octal
      {R"(lowerdir=/a\09)", "lower(/a09)"},
      {R"(upperdir=/u\,v\:w,workdir=/x:y)", "upper(/u,v:w) work(/x:y)"},
      {R"(upperdir=/u\)", R"(upper(/u\))"},
      {R"(context="a,b",ro)", "ro=1"},
      {R"(lowerdir="/a,b":"/c,d",ro)", "lower(/a,b) lower(/c,d) ro=1"},
      {R"(lowerdir=/we"ird:/b"c,ro)", R"(lower(/we"ird) lower(/b"c) ro=1)"},
      {R"(lowerdir="/lone,ro)", R"(lower("/lone) ro=1)"},
      {R"(lowerdir=/a\:"b,ro)", R"(lower(/a:"b) ro=1)"},
      {R"(lowerdir="/a\"b",ro)", R"(lower(/a"b) ro=1)"},
      {"lowerdir=/caf\xc3\xa9:/\xff\n", "lower(/caf\xc3\xa9) lower(/\xff\n)"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const Parsed parsed = parse(c.text);
    CHECK_FALSE(parsed.failure.has_value());
    CHECK(describe(parsed.options) == c.expected);
  }
}

TEST_CASE("words for mount(2) are handed on, the last of a pair wins", "[config]") {
  const std::vector<Case> cases{
      {"nosuid,nodev,noexec,noatime", "nosuid nodev noexec noatime"},
      {"suid,nosuid", "nosuid"},
      {"nodev,nodev,dev", "dev"},
      {"sync", "sync"},
      {"sync,async", "async"},
      {"noatime,atime", ""},
      {"allow_other", "allow_other"},
      {"allow_other,allow_root", "allow_root"},
      {"auto_unmount", "auto_unmount"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const Parsed parsed = parse(c.text);
    CHECK_FALSE(parsed.failure.has_value());
    CHECK(describe(parsed.options) == c.expected);
  }
}

TEST_CASE("words that mean nothing here are accepted in silence", "[config]") {
  for (const std::string word : {"atime",
                                 "diratime",
                                 "nodiratime",
                                 "relatime",
                                 "norelatime",
                                 "strictatime",
                                 "lazytime",
                                 "nolazytime",
                                 "large_read",
                                 "default_permissions",
                                 "kernel_cache",
                                 "max_write=131072",
                                 "splice_read",
                                 "no_splice_move",
                                 "private",
                                 "rslave",
                                 "shared",
                                 "bind",
                                 "rbind",
                                 "x-systemd.automount",
                                 "X-mount.mkdir",
                                 "comment=hello",
                                 "_netdev",
                                 "nofail",
                                 "user",
                                 "user=joe",
                                 "users",
                                 "noauto",
                                 "nfs_export=off",
                                 "uuid=null",
                                 "verity=off",
                                 "static_nlink",
                                 "fast_ino",
                                 "fast_ino_check=0",
                                 "ino32_t",
                                 "plugins=/x:/y",
                                 "xattr_permissions=0",
                                 "context=\"system_u:object_r:container_file_t:s0:c1,c2\"",
                                 "rootcontext=x"}) {
    for (const UnknownWords unknown : {UnknownWords::kRefuse, UnknownWords::kWarn}) {
      INFO(word);
      const Parsed parsed = parse(word, unknown);
      CHECK_FALSE(parsed.failure.has_value());
      CHECK(parsed.warnings.empty());
      CHECK(describe(parsed.options).empty());
    }
  }
}

TEST_CASE("the strings that container tools pass are understood", "[config]") {
  const Parsed podman = parse(
      "lowerdir=/s/l/A:/s/l/B/../diff1,upperdir=/s/1/diff,workdir=/s/1/work,nodev,fsync=0,volatile,"
      "context=\"system_u:object_r:container_file_t:s0:c1,c2\",uidmapping=:0:1000:1:1:100000:65536,"
      "gidmapping=,,",
      UnknownWords::kWarn);
  CHECK(podman.warnings.empty());
  CHECK(describe(podman.options) ==
        "lower(/s/l/A) lower(/s/l/B/../diff1) upper(/s/1/diff) work(/s/1/work) sync=2 "
        "uids[disk 0 shown 1000 x1] uids[disk 1 shown 100000 x65536] nodev");
  const Parsed buildah = parse(R"(lowerdir=/src\:1:/empty,private)", UnknownWords::kWarn);
  CHECK(buildah.warnings.empty());
  CHECK(describe(buildah.options) == "lower(/src:1) lower(/empty)");
}

TEST_CASE("a bad option is refused in one line that names it and the remedy", "[config]") {
  const std::vector<Case> cases{
      {"bogus=1",
       "unknown option: bogus=1: Invalid argument; remove it, or see 'plyfs mount --help' for the "
       "known ones"},
      {"volume=a/b:/c",
       "bad volume: a/b:/c: Invalid argument; a host path is absolute: write it as "
       "\"$PWD/...\""},
      {"volume_mode=x",
       "bad option value: volume_mode=x: Invalid argument; use auto, fuse or bind"},
      {"xattr_permissions=2",
       "cannot use option: xattr_permissions=2: Operation not supported; owners and modes are "
       "those on disk: leave the option out"},
      {"verity=require",
       "cannot use option: verity=require: Operation not supported; digests of layer data are not "
       "verified: leave the option out"},
      {"lowerdir=/a:",
       "bad option value: lowerdir=/a:: Invalid argument; give a path; a colon inside a path is "
       "written \\:"},
      {"lowerdir=:/a",
       "bad option value: lowerdir=:/a: Invalid argument; give a path; a colon inside a path is "
       "written \\:"},
      {"upperdir=",
       "bad option value: upperdir=: Invalid argument; give a path; a colon inside a path is "
       "written \\:"},
      {"workdir=/a\\000b",
       "bad option value: workdir=/a\\000b: Invalid argument; a path cannot hold a zero byte"},
      {"datadir+=/d",
       "bad layer order: /d: Invalid argument; a data-only layer needs an ordinary layer before "
       "it"},
      {"lowerdir=/a::/d:/b",
       "bad layer order: /b: Invalid argument; ordinary layers come before all data-only ones "
       "(after '::')"},
      {"metacopy=maybe", "bad option value: metacopy=maybe: Invalid argument; use on or off"},
      {"xino=1", "bad option value: xino=1: Invalid argument; use on, off or auto"},
      {"fsync=2", "bad option value: fsync=2: Invalid argument; use auto, strict or volatile"},
      {"whiteout=x",
       "bad option value: whiteout=x: Invalid argument; use auto, char, xattr or aufs"},
      {"xattr=x", "bad option value: xattr=x: Invalid argument; use auto, trusted or user"},
      {"timeout=-1",
       "bad option value: timeout=-1: Invalid argument; give a number of seconds, 0 or more"},
      {"timeout=nan",
       "bad option value: timeout=nan: Invalid argument; give a number of seconds, 0 or more"},
      {"threads=65",
       "bad option value: threads=65: Invalid argument; give 1 to 64, or 0 for one per processor"},
      {"uidmapping=0:1",
       "bad option value: uidmapping=0:1: Invalid argument; use DISK:SHOWN:COUNT (ids on "
       "disk, ids that users see, how many); more ranges follow after a colon"},
      {"squash_to_uid=root",
       "bad option value: squash_to_uid=root: Invalid argument; give a numeric id"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const Parsed parsed = parse(c.text);
    REQUIRE(parsed.failure.has_value());
    CHECK(parsed.failure->what == c.expected);
    CHECK(parsed.failure->exit_code == 1);
  }
}

TEST_CASE("id maps outside of the id space are refused", "[config]") {
  for (const char* const map :
       {"0:0:0", "0:4294967295:1", "4294967295:0:1", "1:0:4294967295", "0:0:4294967296", "a:0:1",
        "0:-1:1", "0:0:1:", "::0:0:1", "0 :0:1"}) {
    INFO(map);
    CHECK_FALSE(parse_id_mappings(map).has_value());
  }
  CHECK(parse_id_mappings("0:0:4294967295").has_value());
}

TEST_CASE("called in place of another program, unknown words are reported and ignored",
          "[config]") {
  const Parsed parsed =
      parse("bogus,lowerdir=/a,xattr_permissions=2,odd=\x1b[31m", UnknownWords::kWarn);
  CHECK_FALSE(parsed.failure.has_value());
  CHECK(parsed.options.lowers.size() == 1);
  REQUIRE(parsed.warnings.size() == 3);
  CHECK(parsed.warnings[0] == "unknown argument ignored: bogus");
  CHECK(parsed.warnings[1] ==
        "argument ignored: xattr_permissions=2: owners and modes are those on disk");
  CHECK(parsed.warnings[2].find('\x1b') == std::string::npos);
}

TEST_CASE("500 layers fit, also in a string of many pages; 501 are refused", "[config]") {
  std::string text = "lowerdir=";
  for (int i = 0; i < 500; ++i) {
    text += (i == 0 ? "/" : ":/") + std::string(60, 'd') + std::to_string(i);
  }
  REQUIRE(text.size() > 4 * 4096);
  const Parsed full = parse(text);
  CHECK_FALSE(full.failure.has_value());
  CHECK(full.options.lowers.size() == 500);
  const Parsed over = parse(text + ":/one-more");
  REQUIRE(over.failure.has_value());
  CHECK(over.failure->what ==
        "too many layers: /one-more: Invalid argument; 500 at most: merge some of them into one");
}

TEST_CASE("root's mounts are for everybody, others' are not", "[config]") {
  MountOptions options = parse("suid,dev").options;
  apply_defaults(Caller::kOrdinary, options);
  CHECK(describe(options).empty());
  options = parse("").options;
  apply_defaults(Caller::kRoot, options);
  CHECK(describe(options) == "allow_other suid dev");
  options = parse("nosuid,nodev,allow_root").options;
  apply_defaults(Caller::kRoot, options);
  CHECK(describe(options) == "nosuid nodev allow_root");
}

TEST_CASE("the default work directory is a sibling of the upper", "[config]") {
  CHECK(default_work_path("/a/up") == "/a/up.work");
  CHECK(default_work_path("up///") == "up.work");
  CHECK(default_work_path("../up") == "../up.work");
  for (const char* const upper : {"/", "", ".", "..", "a/..", "a/./"}) {
    CHECK_FALSE(default_work_path(upper).has_value());
  }
}

TEST_CASE("any bytes are parsed without harm", "[config]") {
  static const std::string kAlphabet = "lowerdir=+:,\\\"0127 uidmapping=x\xff\n/";
  std::mt19937 random(20261122);
  for (int round = 0; round < 20000; ++round) {
    std::string text = round % 2 == 0 ? "lowerdir=" : "";
    const std::size_t size = random() % 40;
    for (std::size_t i = 0; i < size; ++i) {
      text.push_back(round % 3 == 0 ? static_cast<char>(random())
                                    : kAlphabet[random() % kAlphabet.size()]);
    }
    for (const UnknownWords unknown : {UnknownWords::kRefuse, UnknownWords::kWarn}) {
      const Parsed parsed = parse(text, unknown);
      if (parsed.failure && parsed.failure->what.find('\n') != std::string::npos) {
        FAIL("more than one line: " << parsed.failure->what);
      }
    }
  }
}

CommandLine command(std::vector<const char*> arguments, Caller caller = Caller::kOrdinary) {
  return parse_command_line(arguments, Surroundings{.caller = caller,
                                                    .directory = "/here",
                                                    .compatible_whiteout = WhiteoutFamily::kProbe});
}

TEST_CASE("plyfs mount takes its layers from options of its own and from -o", "[config][cli]") {
  const CommandLine line = command({"plyfs", "mount", "-o", "lowerdir=a,ro", "--lower", "b",
                                    "--lower", "c,d:e", "--upper", "../up", "-o", "rw", "merged"});
  REQUIRE(line.action == Action::kMount);
  CHECK(describe(line.options) == "lower(a) lower(b) lower(c,d:e) upper(../up) work(../up.work)");
  CHECK(line.options.mountpoint == "/here/merged");
  CHECK_FALSE(line.options.foreground);
}

TEST_CASE("debugging stays in the foreground", "[config][cli]") {
  CHECK(command({"plyfs", "mount", "--lower", "a", "-d", "m"}).options.foreground);
  CHECK(command({"plyfs", "mount", "--lower", "a", "-f", "m"}).options.foreground);
  CHECK(command({"fuse-overlayfs", "-o", "lowerdir=a", "-d", "m"}).options.foreground);
}

TEST_CASE("the last of two positionals is the mountpoint", "[config][cli]") {
  const CommandLine line = command({"/usr/bin/fuse-overlayfs", "overlay", "/target", "-o",
                                    "lowerdir=a", "-o", "bogus,dev,suid", "-t", "x", "-n", "-v"},
                                   Caller::kRoot);
  REQUIRE(line.action == Action::kMount);
  CHECK(line.options.mountpoint == "/target");
  CHECK(line.warnings == Warnings{"unknown argument ignored: bogus"});
  CHECK(describe(line.options) ==
        "lower(a) redirect_dir=0 metacopy=0 allow_other suid dev "
        "name(fuse-overlayfs,fuse-overlayfs)");
}

TEST_CASE("every compatible name and the bare form are recognised", "[config][cli]") {
  for (const char* const program :
       {"plyfs", "./plyfs", "mount.plyfs", "/sbin/mount.fuse.plyfs", "fuse-overlayfs"}) {
    INFO(program);
    const CommandLine line = command({program, "-o", "bogus,lowerdir=a", "/m"});
    CHECK(line.action == Action::kMount);
    CHECK(line.warnings.size() == 1);
  }
  CHECK(command({"plyfs", "-olowerdir=a", "/m"}).action == Action::kMount);
  CHECK(command({"plyfs", "/m", "-o", "lowerdir=a"}).options.mountpoint == "/m");
  CHECK(command({"mount.plyfs", "none", "/m", "-f", "-o", "lowerdir=a"}).action ==
        Action::kPretendMount);
  CHECK(command({"fuse-overlayfs", "-f", "-o", "lowerdir=a", "/dev/fd/3"}).options.mountpoint ==
        "/dev/fd/3");
}

TEST_CASE("the version line is the one that callers parse", "[config][cli]") {
  CHECK(command({"fuse-overlayfs", "--version"})
            .output.starts_with("fuse-overlayfs: version 1.14 (plyfs "));
  CHECK(command({"fuse-overlayfs", "-V"}).action == Action::kPrint);
  CHECK(command({"plyfs", "--version"}).output.starts_with("plyfs version "));
}

TEST_CASE("help is printed, with examples", "[config][cli]") {
  for (const std::vector<const char*>& arguments :
       std::vector<std::vector<const char*>>{{"plyfs", "--help"},
                                             {"plyfs", "-h"},
                                             {"plyfs", "mount", "--help"},
                                             {"plyfs", "umount", "-h"},
                                             {"plyfs", "check", "--help"},
                                             {"fuse-overlayfs", "--help"}}) {
    const CommandLine line = command(arguments);
    CHECK(line.action == Action::kPrint);
    CHECK(line.output.find("Examples:") != std::string::npos);
  }
}

TEST_CASE("wrong usage exits with 1 and one line", "[config][cli]") {
  for (const std::vector<const char*>& arguments : std::vector<std::vector<const char*>>{
           {"plyfs", "frobnicate"},
           {"plyfs", "mount"},
           {"plyfs", "mount", "--lower"},
           {"plyfs", "mount", "--bogus", "m"},
           {"plyfs", "mount", "--lower", "a", "m", "n"},
           {"plyfs", "mount", "-o", "bogus", "m"},
           {"plyfs", "mount", "-v", "a/b:/b", "--lower", "a", "m"},
           {"plyfs", "mount", "--volumes-from", "x:rx", "--lower", "a", "m"},
           {"plyfs", "mount", "--name", "../x", "--lower", "a", "m"},
           {"plyfs", "mount", "--lower", "a"},
           {"plyfs", "mount", "--config"},
           {"plyfs", "mount", "--save"},
           {"plyfs", "umount"},
           {"fuse-overlayfs", "a", "b", "c", "-o", "lowerdir=x"}}) {
    const CommandLine line = command(arguments);
    INFO(line.failure.what);
    CHECK(line.action == Action::kFail);
    CHECK(line.failure.exit_code == 1);
    CHECK(line.failure.what.find('\n') == std::string::npos);
  }
  CHECK(command({"plyfs", "walk"}).failure.what ==
        "unknown command: walk: Invalid argument; see 'plyfs --help' for the known ones");
  CHECK(command({"plyfs"}).action == Action::kPrint);
}

TEST_CASE("umount and check take their options", "[config][cli]") {
  CHECK(command({"plyfs", "umount", "m"}).unmount_mode == sys::UnmountMode::kNow);
  CHECK(command({"plyfs", "umount", "--lazy", "m"}).unmount_mode == sys::UnmountMode::kLazy);
  CHECK(command({"plyfs", "umount", "m"}).target == "m");
  for (const char* const helper : {"umount.fuse.plyfs", "/sbin/umount.plyfs"}) {
    const CommandLine line = command({helper, "/m", "-n", "-l", "-t", "fuse.plyfs"});
    CHECK(line.action == Action::kUmount);
    CHECK(line.target == "/m");
    CHECK(line.unmount_mode == sys::UnmountMode::kLazy);
  }
  const CommandLine check = command({"plyfs", "check", "--json", "--lower", "a"});
  CHECK(check.action == Action::kCheck);
  CHECK(check.format == OutputFormat::kJson);
  CHECK(check.options.mountpoint.empty());
}

}  // namespace
}  // namespace plyfs::config
