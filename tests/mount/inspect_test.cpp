// plyfs inspect: of mounts with a name and without, live and not, and what only the daemon knows.
// And whether the daemon is gone when the unmounting program returns.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "stack.h"
#include "store_host.h"
#include "system.h"

namespace plyfs::tests {
namespace {

constexpr int kRounds = 20;  // what is told too early or too late is so in some of them only

/// The number of the daemon in what `plyfs inspect` printed; -1 when it is not there.
pid_t daemon_of(const Ran& inspected) {
  constexpr std::string_view kBefore = "\"Pid\": ";
  const std::size_t at = inspected.out.find(kBefore);
  return at == std::string::npos ? -1 : std::stoi(inspected.out.substr(at + kBefore.size()));
}

/// Mounts the image at host("m"), without a record. Returns the daemon; -1 on failure.
pid_t mount_plain(const Host& host) {
  make(host("m"), {});
  make(host("up"), {});
  CHECK_DONE(host.plyfs({"mount", "--lower", host("image"), "--upper", host("up"), host("m")}), "");
  return daemon_of(host.plyfs({"inspect", host("m")}));
}

/// `python3 -c EXPRESSION` over the JSON that was printed; "<...>" on an error.
std::string asked(const Ran& ran, const std::string& expression) {
  if (ran.exit_code != 0) {
    return "<" + said(ran) + ">";
  }
  const Ran answer = run({"python3", "-c",
                          "import json, sys\nm = json.loads(sys.argv[1])[0]\n"
                          "c = {x['Name']: x for x in m.get('Capabilities', [])}\n"
                          "print((" +
                              expression + "))",
                          ran.out});
  return answer.exit_code == 0 ? answer.out.substr(0, answer.out.size() - 1)
                               : "<" + answer.err + ">";
}

TEST_CASE("inspect tells what is in force in a mount, and why", "[inspect][store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("srv/page", "1")});
  make(host("own"), {file("f", "own")});
  CHECK_DONE(host.mount("a", {"-v", "web:/srv:ro", "-v", host("own") + ":/own", "-o", "index=off"}),
             "");
  for (const std::string& target : {std::string{"a"}, host.in("a", ""), host("m-a")}) {
    INFO(target);
    const Ran ran = host.plyfs({"inspect", target});
    CHECK(asked(ran, "m['Name'], m['State']['Status'], len(m['Mounts'])") == "('a', 'mounted', 2)");
    CHECK(asked(ran, "m['VolumeMode']") ==
          "{'Mode': 'fuse', 'Why': 'asked for by volume_mode=fuse'}");
    CHECK(asked(ran, "m['Options']['index'], m['Options']['writeback'], m['Options']['threads']") ==
          "('off', 'off', 1)");
    CHECK(asked(ran, "[c[n]['Value'] for n in ('index', 'writeback', 'passthrough')]") ==
          "['off', 'off', 'off']");
    CHECK(asked(ran, "c['index']['Why']") == "switched off by option");
    CHECK(asked(ran, "c['whiteout']['Value'] in ('char', 'xattr', 'aufs')") == "True");
    CHECK(asked(ran, "c['xattr']['Value']") == (is_root() ? "trusted" : "user"));
    CHECK(asked(ran, "[n for n in c if not c[n]['Why']]") == "[]");
    CHECK(asked(ran, "'io_uring' in c") == "True");
    CHECK(asked(ran, "[[x[k] for k in ('Type', 'Destination', 'RW')] for x in m['Mounts']]") ==
          "[['volume', '/srv', False], ['bind', '/own', True]]");
  }
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
  const Ran ended = host.plyfs({"inspect", "a"});
  CHECK(asked(ended, "m['State']['Status'], 'Capabilities' in m, len(m['Mounts'])") ==
        "('unmounted', False, 2)");
}

TEST_CASE("inspect knows a mount that has no record", "[inspect][store][volume]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("srv/page", "1")});
  make(host("own"), {file("f", "own")});
  make(host("m"), {});
  make(host("up"), {});
  const std::string own = host("own");
  CHECK_DONE(host.plyfs({"mount", "--lower", host("image"), "--upper", host("up"), "-v",
                         own + ":/own:ro", host("m")}),
             "");
  CHECK(!exists(host("home")));
  const Ran ran = host.plyfs({"inspect", host("m")});
  CHECK(asked(ran, "m['Name'], m['Mountpoint'], m['State']['Status'], m['State']['Pid'] > 0") ==
        "('', '" + host("m") + "', 'mounted', True)");
  CHECK(asked(ran, "m['LowerDirs'], m['UpperDir'], m['WorkDir']") ==
        "(['" + host("image") + "'], '" + host("up") + "', '" + host("up.work") + "')");
  CHECK(asked(ran, "m['Mounts']") ==
        "[{'Type': 'bind', 'Source': '" + own +
            "', 'Destination': '/own', 'Mode': 'ro', 'RW': False, 'Propagation': 'rprivate'}]");
  CHECK(asked(ran, "m['VolumeMode']['Mode']") == (is_root() ? "bind" : "fuse"));
  CHECK(!exists(host("home")));  // asking makes no store
  CHECK_DONE(host.plyfs({"umount", host("m")}), "");
  CHECK(said(host.plyfs({"inspect", host("m")})) ==
        "2 []\nplyfs: no such mount: " + host("m") +
            ": No such file or directory; 'plyfs ls' shows the mounts that have a record\n");
}

TEST_CASE("a mount without volumes says so", "[inspect]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("f", "1")});
  CHECK_DONE(host.mount("a", {}), "");
  const Ran ran = host.plyfs({"inspect", "a"});
  CHECK(asked(ran, "m['VolumeMode']['Mode'], m['Mounts']") == "('none', [])");
  CHECK(asked(ran, "c['writeback']['Value']") == "on");
  CHECK_DONE(host.plyfs({"umount", "a"}), "");
}

TEST_CASE("plyfs umount comes back when the daemon has ended", "[inspect][store]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("f", "1")});
  for (int round = 0; round < kRounds; ++round) {
    const pid_t daemon = mount_plain(host);
    REQUIRE(daemon > 0);
    CHECK(call::create(host("m/f" + std::to_string(round)), "1") == "ok");
    CHECK_DONE(host.plyfs({"umount", host("m")}), "");
    CHECK(wait_for(daemon, 0) == 0);
  }
}

TEST_CASE("a daemon whose mount is gone answers nobody", "[inspect][store]") {
  if (!can_mount()) {
    return;
  }
  Host host({file("f", "1")});
  for (int round = 0; round < kRounds; ++round) {
    const pid_t daemon = mount_plain(host);
    REQUIRE(daemon > 0);
    REQUIRE(unmount_fuse(host("m"), false) == "ok");
    const Ran ran = host.plyfs({"inspect", host("m")});
    CHECK(said(ran).starts_with("2 []\nplyfs: no such mount: " + host("m")));
    CHECK(wait_for(daemon, 60) == 0);
  }
}

TEST_CASE("plyfs umount does not wait for ever where the mount is shown elsewhere",
          "[inspect][store]") {
  if (!can_mount()) {
    return;
  }
  if (!is_root()) {
    return skip("needs root: a copy of a mount");
  }
  Host host({file("f", "1")});
  for (const bool named : {false, true}) {
    INFO(named);
    if (named) {
      CHECK_DONE(host.mount("a", {}), "");
    }
    const pid_t daemon = named ? daemon_of(host.plyfs({"inspect", "a"})) : mount_plain(host);
    REQUIRE(daemon > 0);
    {
      // As another mount namespace would, but it keeps nothing else.
      const File copy(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD,
                                                 (named ? host.in("a", "") : host("m")).c_str(),
                                                 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
      REQUIRE(copy.fd() >= 0);
      const pid_t umount = start(host.command({"umount", named ? "a" : host("m")}));
      CHECK(wait_for(umount, 60) == 0);
      CHECK(wait_for(daemon, 0) == -1);
    }
    CHECK(wait_for(daemon, 60) == 0);
  }
}

}  // namespace
}  // namespace plyfs::tests
