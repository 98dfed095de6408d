// Validation against real directories; what the machine offers for mounting is made up.
#include "config/validate.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <string>

#include "catch.h"
#include "child.h"
#include "config/check_report.h"
#include "config/options_parser.h"
#include "workspace.h"

namespace plyfs::config {
namespace {

using sys::Answer;
using test::Workspace;

/// A machine on which everything works for an ordinary user.
sys::HostFacts good_host() {
  sys::HostFacts host;
  host.kernel_release = "6.1";
  host.fusermount = "/usr/bin/fusermount3";
  host.fusermount_works = Answer::kYes;
  host.mount_table = Answer::kYes;
  return host;
}

/// Two layers, an upper, a work directory and a mountpoint beside each other.
struct Scene {
  Workspace space;
  MountOptions options;

  Scene() {
    options.lowers = {{.path = space.make_directory("top")},
                      {.path = space.make_directory("base")}};
    options.upper = space.make_directory("up");
    options.work = space.make_directory("work");
    options.mountpoint = space.make_directory("merged");
  }

  [[nodiscard]] std::string path(const std::string& name) const { return space.path(name); }
  [[nodiscard]] std::string verdict(const sys::HostFacts& host = good_host()) const {
    const Validation validation = validate(options, host);
    return validation.failure ? validation.failure->what : "";
  }
};

std::string names_in(const std::string& directory) {
  std::string names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    names += entry.path().string() + "\n";
  }
  return names;
}

TEST_CASE("a good stack passes, and validation leaves everything as it was", "[validate]") {
  Scene scene;
  const std::string before = names_in(scene.space.path());
  CHECK(scene.verdict().empty());
  scene.options.work = default_work_path(*scene.options.upper);
  CHECK(scene.verdict().empty());
  scene.options.upper.reset();
  scene.options.work.reset();
  CHECK(scene.verdict().empty());
  CHECK(names_in(scene.space.path()) == before);
}

TEST_CASE("layers that are missing, or no directories, are named", "[validate]") {
  Scene scene;
  SECTION("missing") {
    scene.options.lowers[1].path = scene.path("nowhere");
    CHECK(scene.verdict() == "cannot use layer: " + scene.path("nowhere") +
                                 ": No such file or directory; create it, or correct the path");
  }
  SECTION("a file") {
    scene.options.lowers[0].path = scene.space.make_file("file");
    CHECK(scene.verdict() ==
          "cannot use layer: " + scene.path("file") + ": Not a directory; name a directory");
  }
  SECTION("a link to itself") {
    std::filesystem::create_symlink("loop", scene.path("loop"));
    scene.options.lowers[0].path = scene.path("loop");
    CHECK(scene.verdict() == "cannot use layer: " + scene.path("loop") +
                                 ": Too many levels of symbolic links; a symbolic link points to "
                                 "itself: correct the path");
  }
  SECTION("a name that would break the line") {
    scene.options.lowers[0].path = "no\nway";
    CHECK(
        scene.verdict() ==
        "cannot use layer: no\\x0away: No such file or directory; create it, or correct the path");
  }
  SECTION("none given") {
    scene.options.lowers.clear();
    CHECK(scene.verdict() ==
          "no layers given: lowerdir: Invalid argument; name at least one with --lower or -o "
          "lowerdir=");
    CHECK(validate(scene.options, good_host()).failure->exit_code == 1);
  }
  SECTION("too many") {
    scene.options.lowers.assign(501, {.path = scene.path("base")});
    CHECK(scene.verdict() == "too many layers: " + scene.path("base") +
                                 ": Invalid argument; 500 at most: merge some of them into one");
  }
}

TEST_CASE("layers and uppers that we may not read or write are named", "[validate]") {
  Scene scene;
  REQUIRE(::chmod(scene.path("base").c_str(), 0) == 0);
  const auto layer = test::in_child(test::become_ordinary_user, [&] { return scene.verdict(); });
  REQUIRE(::chmod(scene.path("base").c_str(), 0755) == 0);
  REQUIRE(::chmod(scene.path("up").c_str(), 0555) == 0);
  const auto upper = test::in_child(test::become_ordinary_user, [&] { return scene.verdict(); });
  if (!layer || !upper) {
    test::skip("cannot become an ordinary user");
    return;
  }
  CHECK(*layer == "cannot use layer: " + scene.path("base") +
                      ": Permission denied; make it readable and searchable for you, or mount as "
                      "its owner");
  CHECK(*upper == "cannot use upper: " + scene.path("up") +
                      ": Permission denied; make it writable for you, or choose a directory of "
                      "your own");
}

TEST_CASE("an upper must be a directory on a writable filesystem", "[validate]") {
  Scene scene;
  scene.options.upper = scene.path("nowhere");
  CHECK(scene.verdict() == "cannot use upper: " + scene.path("nowhere") +
                               ": No such file or directory; create it, or correct the path");
  scene.options.upper = scene.space.make_file("file");
  CHECK(scene.verdict() ==
        "cannot use upper: " + scene.path("file") + ": Not a directory; name a directory");

  scene.options.upper = scene.path("up");
  const auto verdict = test::in_child(
      [&] {
        return test::enter_own_mounts() &&
               ::mount("tmpfs", scene.path("up").c_str(), "tmpfs", MS_RDONLY, nullptr) == 0;
      },
      [&] { return scene.verdict(); });
  if (!verdict) {
    test::skip("cannot mount a read-only tmpfs");
    return;
  }
  CHECK(*verdict == "cannot use upper: " + scene.path("up") +
                        ": Read-only file system; put it on a writable filesystem, or mount "
                        "without an upper");
}

TEST_CASE("the work directory is there, or in a directory that is", "[validate]") {
  Scene scene;
  SECTION("missing: it will be made") {
    scene.options.work = scene.path("nowhere");
    CHECK(scene.verdict().empty());
  }
  SECTION("missing, and the directory that it should be in") {
    scene.options.work = scene.path("no/where");
    CHECK(scene.verdict() == "cannot use work directory: " + scene.path("no/where") +
                                 ": No such file or directory; create it, or correct the path");
  }
  SECTION("a file where the default should be") {
    scene.options.work = scene.space.make_file("up.work");
    CHECK(scene.verdict() == "cannot use work directory: " + scene.path("up.work") +
                                 ": Not a directory; name a work directory with --work or -o "
                                 "workdir=");
  }
  SECTION("without a name") {
    scene.options.upper = scene.path("up/.");
    scene.options.work = default_work_path(*scene.options.upper);
    CHECK(scene.verdict() == "no work directory: " + scene.path("up/.") +
                                 ": Invalid argument; name one with --work or -o workdir=, on the "
                                 "upper's filesystem");
  }
  SECTION("without an upper") {
    scene.options.upper.reset();
    CHECK(scene.verdict() == "work directory without an upper: " + scene.path("work") +
                                 ": Invalid argument; name the upper too, or leave out the work "
                                 "directory");
  }
  SECTION("not needed for a read-only mount") {
    scene.options.work = scene.path("nowhere");
    scene.options.read_only = true;
    CHECK(scene.verdict().empty());
  }
}

TEST_CASE("upper and work must share a mount, not only a filesystem", "[validate]") {
  Scene scene;
  const auto mounted = [&](const char* source, const char* type, unsigned long flags) {
    return test::in_child(
        [&] {
          return test::enter_own_mounts() &&
                 ::mount(source, scene.path("work").c_str(), type, flags, nullptr) == 0;
        },
        [&] { return scene.verdict(); });
  };
  const auto other_filesystem = mounted("tmpfs", "tmpfs", 0);
  const std::string beside = scene.space.make_directory("beside");
  const auto other_mount = mounted(beside.c_str(), nullptr, MS_BIND);
  if (!other_filesystem || !other_mount) {
    test::skip("cannot mount");
    return;
  }
  const std::string expected =
      "cannot use work directory: " + scene.path("work") +
      ": Invalid cross-device link; choose one on the same filesystem and mount as the upper " +
      scene.path("up");
  CHECK(*other_filesystem == expected);
  CHECK(*other_mount == expected);
}

TEST_CASE("upper, work and layers must not contain one another", "[validate]") {
  Scene scene;
  const auto inside = [&](const std::string& what, const std::string& inner,
                          const std::string& outer_name, const std::string& outer) {
    return "cannot use " + what + ": " + inner + ": Invalid argument; it lies inside the " +
           outer_name + " " + outer + ": use a directory outside";
  };
  SECTION("upper inside a layer") {
    scene.options.upper = scene.space.make_directory("base/a/up");
    CHECK(scene.verdict() == inside("upper", scene.path("base/a/up"), "layer", scene.path("base")));
  }
  SECTION("upper is a layer, by another name") {
    std::filesystem::create_directory_symlink("base", scene.path("alias"));
    scene.options.upper = scene.path("alias");
    CHECK(scene.verdict() == "cannot use upper: " + scene.path("alias") +
                                 ": Invalid argument; it is the layer " + scene.path("base") +
                                 " itself: use another directory");
  }
  SECTION("upper inside a layer, through a link") {
    scene.space.make_directory("base/a/up");
    std::filesystem::create_directory_symlink("base/a", scene.path("alias"));
    scene.options.upper = scene.path("alias/up");
    CHECK(scene.verdict() == inside("upper", scene.path("alias/up"), "layer", scene.path("base")));
  }
  SECTION("work inside a layer") {
    scene.options.work = scene.space.make_directory("top/work");
    CHECK(scene.verdict() ==
          inside("work directory", scene.path("top/work"), "layer", scene.path("top")));
  }
  SECTION("a layer inside the upper") {
    scene.options.lowers[1].path = scene.space.make_directory("up/layer");
    CHECK(scene.verdict() == inside("layer", scene.path("up/layer"), "upper", scene.path("up")));
  }
  SECTION("a layer inside the work directory") {
    scene.options.lowers[1].path = scene.space.make_directory("work/layer");
    CHECK(scene.verdict() ==
          inside("layer", scene.path("work/layer"), "work directory", scene.path("work")));
  }
  SECTION("work inside the upper") {
    scene.options.work = scene.space.make_directory("up/work");
    CHECK(scene.verdict() ==
          inside("work directory", scene.path("up/work"), "upper", scene.path("up")));
  }
  SECTION("upper inside work") {
    scene.options.upper = scene.space.make_directory("work/up");
    CHECK(scene.verdict() ==
          inside("upper", scene.path("work/up"), "work directory", scene.path("work")));
  }
  SECTION("work is the upper") {
    scene.options.work = scene.path("up") + "/";
    CHECK(scene.verdict() == "cannot use upper: " + scene.path("up") +
                                 ": Invalid argument; it is the work directory " +
                                 scene.path("up") + "/ itself: use another directory");
  }
  SECTION("names that only look alike are fine") {
    scene.options.upper = scene.space.make_directory("base-up");
    scene.options.work = scene.space.make_directory("base-up.work");
    CHECK(scene.verdict().empty());
  }
}

TEST_CASE("the root directory may be a layer of a stack whose upper lies in it", "[validate]") {
  Scene scene;
  scene.options.lowers[1].path = "/";
  struct stat root = {};
  struct stat upper = {};
  REQUIRE(::stat("/", &root) == 0);
  REQUIRE(::stat(scene.path("up").c_str(), &upper) == 0);
  const Validation validation = validate(scene.options, good_host());
  CHECK_FALSE(validation.failure.has_value());
  if (root.st_dev != upper.st_dev) {
    CHECK(validation.warnings.empty());  // not seen through the layer
    return;
  }
  REQUIRE(validation.warnings.size() == 1);
  CHECK(validation.warnings[0] ==
        "upper " + scene.path("up") + " lies inside the layer /: leave it alone through the mount");
}

TEST_CASE("the mountpoint must be a directory; it may lie in a layer", "[validate]") {
  Scene scene;
  SECTION("missing") {
    scene.options.mountpoint = scene.path("nowhere");
    CHECK(scene.verdict() == "cannot mount on: " + scene.path("nowhere") +
                                 ": No such file or directory; create it, or correct the path");
  }
  SECTION("a file") {
    scene.options.mountpoint = scene.space.make_file("file");
    CHECK(scene.verdict() ==
          "cannot mount on: " + scene.path("file") + ": Not a directory; name a directory");
  }
  SECTION("not given") {
    scene.options.mountpoint.clear();
    CHECK(scene.verdict() ==
          "no mountpoint given: MOUNTPOINT: Invalid argument; name a directory "
          "as the last argument");
  }
  SECTION("in a layer, or a layer itself") {
    scene.options.mountpoint = scene.space.make_directory("base/merged");
    CHECK(scene.verdict().empty());
    scene.options.mountpoint = scene.path("base");
    CHECK(scene.verdict().empty());
  }
  SECTION("somebody else's") {
    REQUIRE(::chmod(scene.path("merged").c_str(), 0555) == 0);
    for (const std::string name : {"up", "work"}) {
      REQUIRE(::chmod(scene.path(name).c_str(), 0777) == 0);
    }
    const auto verdict =
        test::in_child(test::become_ordinary_user, [&] { return scene.verdict(); });
    if (!verdict) {
      test::skip("cannot become an ordinary user");
      return;
    }
    CHECK(*verdict == "cannot mount on: " + scene.path("merged") +
                          ": Permission denied; fusermount3 wants a directory that you may write "
                          "to");
  }
  SECTION("mounted by the caller already") {
    sys::HostFacts host;
    host.dev_fuse = Errno{ENOENT};
    scene.options.mountpoint = "/dev/fd/7";
    CHECK(scene.verdict(host).empty());
  }
}

TEST_CASE("what is missing for mounting is named, with the remedy", "[validate]") {
  Scene scene;
  sys::HostFacts host = good_host();
  SECTION("no device") {
    host.dev_fuse = Errno{ENOENT};
    CHECK(scene.verdict(host) ==
          "cannot open the FUSE device: /dev/fuse: No such file or directory; load the module with "
          "'modprobe fuse'; in a container pass '--device /dev/fuse'");
  }
  SECTION("a device for others") {
    host.dev_fuse = Errno{EACCES};
    CHECK(
        scene.verdict(host) ==
        "cannot open the FUSE device: /dev/fuse: Permission denied; as root: chmod 666 /dev/fuse");
  }
  SECTION("no fusermount3") {
    host.fusermount.clear();
    host.fusermount_works = Answer::kNo;
    CHECK(scene.verdict(host) ==
          "cannot find the mount program: fusermount3: No such file or directory; install it ('apt "
          "install fuse3'), or mount as root");
    host.may_mount = Answer::kYes;
    CHECK(scene.verdict(host).empty());
  }
  SECTION("fusermount3 without its bit") {
    host.fusermount_works = Answer::kNo;
    CHECK(scene.verdict(host) ==
          "mount program cannot mount: /usr/bin/fusermount3: Operation not permitted; as root: "
          "chmod u+s /usr/bin/fusermount3");
  }
  SECTION("no_new_privs") {
    host.no_new_privileges = Answer::kYes;
    CHECK(scene.verdict(host) ==
          "mount program cannot mount: /usr/bin/fusermount3: Operation not permitted; this process "
          "runs with no_new_privs: start it without, or mount inside a user namespace ('unshare "
          "-Urm')");
  }
  SECTION("allow_other") {
    scene.options.fuse_options = {"allow_other"};
    CHECK(scene.verdict(host) ==
          "cannot use option: allow_other: Operation not permitted; as root: add the line "
          "'user_allow_other' to /etc/fuse.conf");
    host.user_allow_other = Answer::kYes;
    CHECK(scene.verdict(host).empty());
  }
}

TEST_CASE("the check report lists the machine and the stack, and fails with the first failure",
          "[validate][check]") {
  Scene scene;
  const CheckReport good = check_machine(scene.options, good_host(), Status{});
  CHECK(good.exit_code == 0);
  CHECK(as_text(good).find("ok    stack: fits together\n") != std::string::npos);
  CHECK(as_text(good).find("ok    layer " + scene.path("top") + ": ") != std::string::npos);

  scene.options.lowers[0].path = "/nowhere-\xff";
  sys::HostFacts host = good_host();
  host.dev_fuse = Errno{ENOENT};
  host.mount_table = Answer::kNo;
  const CheckReport bad = check_machine(scene.options, host, Errno{ENOSPC});
  CHECK(bad.exit_code == 32);
  CHECK(as_text(bad).find("FAIL  /dev/fuse: cannot open the FUSE device: ") != std::string::npos);
  CHECK(as_text(good).find("ok    /etc/mtab: can be read\n") != std::string::npos);
  CHECK(as_text(bad).find("note  /etc/mtab: missing, ") != std::string::npos);
  CHECK(as_text(bad).find("note  user namespaces: cannot be made: ") != std::string::npos);
  const std::string json = as_json(bad);
  CHECK(json.find("\"works\": false") != std::string::npos);
  CHECK(json.find("\"exit_code\": 32") != std::string::npos);
}

TEST_CASE("this machine can be asked", "[validate]") {
  const sys::HostFacts host = sys::host_facts("/bin:/nowhere");
  CHECK_FALSE(host.kernel_release.empty());
  CHECK(sys::filesystem_name(0x01021994) == "tmpfs");
  CHECK(sys::filesystem_name(0x1234) == "0x1234");
}

}  // namespace
}  // namespace plyfs::config
