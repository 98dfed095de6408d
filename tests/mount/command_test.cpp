// The command line as users and callers type it: what works, and what is refused how.
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <unistd.h>

#include <csignal>

#include "messages.h"
#include "place.h"
#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

Items usual() {
  return {file("low/f", "1"), file("low2/g", "2"), dir("upper"), dir("work"), dir("mnt")};
}

const char* const kUsual = "lowerdir=low:low2,upperdir=upper,workdir=work";

TEST_CASE("plyfs mount returns when the mount is usable and goes on in the background",
          "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place(usual());
    place.check_mounted(place.plyfs({"mount", "--lower", "low", "--lower", "low2", "--upper",
                                     "upper", "--work", "work", "mnt"}),
                        {"f=1", "g=2"});
    CHECK_FALSE(is_mounted(place("mnt")));
    place.check_mounted(place.plyfs({"mount", "-o", kUsual, place("mnt")}), {"f=1", "g=2"});
    place.check_mounted(place.plyfs({"-o", kUsual, place("mnt")}), {"f=1", "g=2"});
    place.check_mounted(place.plyfs({"overlay", "mnt", "-o", kUsual}), {"f=1", "g=2"});
    place.check_mounted(
        place.plyfs({"-o", "lowerdir=low2", "-o", "upperdir=upper,workdir=work,,", "mnt"}),
        {"g=2"});
  });
}

TEST_CASE("limits of the shell that mounted do not end the daemon", "[command]") {
  on(plyfs_only(), [](const System&) {
    const std::string large = pattern(3'000'000);
    // Of file sizes, in blocks of 512 bytes. A soft one is lifted, a hard one is an error of
    // whoever writes; as it is the daemon's, it holds for all.
    for (const char* const limit : {"ulimit -S -f 100", "ulimit -f 100"}) {
      CAPTURE(limit);
      const bool hard = std::string(limit).find("-S") == std::string::npos;
      const Place place({file("low/big", large), dir("upper"), dir("work"), dir("mnt")});
      const Ran mounted =
          run({"sh", "-c", std::string(limit) + "; exec \"$@\"", "sh", plyfs_program(), "mount",
               "-o", "lowerdir=low,upperdir=upper,workdir=work", "mnt"},
              place(""));
      REQUIRE(mounted.exit_code == 0);
      {
        File fresh(place("mnt/fresh"), O_WRONLY | O_CREAT);
        std::string written = fresh.write(large);
        written = written == "ok" ? outcome(::fsync(fresh.fd())) : written;
        CHECK((hard ? written == "EFBIG" || written == "EIO" : written == "ok"));
      }
      const std::string cut = call::truncate(place("mnt/big"), 2'000'000);
      CHECK(cut == (hard ? "EFBIG" : "ok"));
      CHECK((content(place("mnt/big")) == (hard ? large : large.substr(0, 2'000'000))));
      place.end();
    }
  });
}

TEST_CASE("a mount in the background has shown the kernel that opens take no message",
          "[command][messages]") {
  on(plyfs_only(), [](const System&) {
    const Place place(usual());
    REQUIRE(place.plyfs({"mount", "-o", std::string(kUsual) + ",threads=1,uring=off", "mnt"})
                .exit_code == 0);
    // Until it knows, the kernel sends RELEASE for each file that it created.
    for (int i = 0; i < kTimes; ++i) {
      REQUIRE(call::create(place("mnt/new" + std::to_string(i)), "1") == "ok");
    }
    const Messages sent = counted(place("mnt"));
    CHECK(sent.count("create") == 1);
    CHECK(sent.count("release") == 0);
    place.end();
  });
}

TEST_CASE("the work directory defaults to a sibling of the upper", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place({file("low/f", "1"), dir("upper"), dir("mnt")});
    const Ran ran = place.plyfs({"mount", "--lower", "low", "--upper", "upper", "mnt"});
    REQUIRE(ran.exit_code == 0);
    CHECK(call::append(place("mnt/f"), "+") == "ok");
    place.check_and_unmount({"f=1+"});
    CHECK(content(place("upper/f")) == "1+");
  });
}

TEST_CASE("plyfs umount unmounts", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place(usual());
    REQUIRE(place.plyfs({"mount", "-o", kUsual, "mnt"}).exit_code == 0);
    const std::vector<pid_t> running = place.daemons();
    REQUIRE(running.size() == 1);
    CHECK(place.plyfs({"umount", place("mnt")}).exit_code == 0);
    CHECK_FALSE(is_mounted(place("mnt")));
    CHECK(wait_for(running[0], 60) == 0);
    const Ran again = place.plyfs({"umount", place("mnt")});
    CHECK(again.exit_code == 32);
    CHECK(std::count(again.err.begin(), again.err.end(), '\n') == 1);
  });
}

TEST_CASE("a SIGTERM unmounts and ends with 0", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place(usual());
    REQUIRE(place.plyfs({"mount", "-o", kUsual, "mnt"}).exit_code == 0);
    const std::vector<pid_t> running = place.daemons();
    REQUIRE(running.size() == 1);
    CHECK(call::append(place("mnt/f"), "+") == "ok");
    ::kill(running[0], SIGTERM);
    CHECK(wait_for(running[0], 60) == 0);
    CHECK_FALSE(is_mounted(place("mnt")));
    CHECK(content(place("upper/f")) == "1+");
  });
}

/// By poll(2), which tells of each change of the mount table.
void await_unmounted(const std::string& mountpoint) {
  const File mounts("/proc/self/mountinfo", O_RDONLY);
  while (is_mounted(mountpoint)) {
    pollfd wait = {mounts.fd(), POLLPRI, 0};
    (void)::poll(&wait, 1, -1);
  }
}

void check_second_sigterm(const std::string& transport) {
  INFO(transport);
  const std::string options = std::string{kUsual} + "," + transport;
  const Place place(usual());
  REQUIRE(place.plyfs({"mount", "-o", options, "mnt"}).exit_code == 0);
  const std::vector<pid_t> running = place.daemons();
  REQUIRE(running.size() == 1);
  File user(place("mnt/f"), O_RDWR);
  REQUIRE(user.opened() == "ok");
  CHECK(user.pwrite("w", 0) == "ok");
  CHECK(outcome(::fsync(user.fd())) == "ok");
  ::kill(running[0], SIGTERM);
  await_unmounted(place("mnt"));
  CHECK(user.pwrite("x", 1) == "ok");
  CHECK(outcome(::fsync(user.fd())) == "ok");  // it serves on
  CHECK(content(place("upper/f")) == "wx");
  ::kill(running[0], SIGTERM);
  CHECK(wait_for(running[0], 60) == 0);
  // ECONNABORTED: io_uring may still be taking its ring down.
  const std::string cut_off = outcome(::fsync(user.fd()));
  INFO(cut_off);
  CHECK((cut_off == "ENOTCONN" || cut_off == "ECONNABORTED"));
  (void)user.close();
  REQUIRE(place.plyfs({"mount", "-o", options, "mnt"}).exit_code == 0);
  place.check_and_unmount({"f=wx", "g=2"});
}

TEST_CASE("a second SIGTERM ends a daemon that waits for its last user", "[command]") {
  on(plyfs_only(), [](const System&) {
    check_second_sigterm("uring=off");
    if (content("/sys/module/fuse/parameters/enable_uring") != "Y\n") {
      return skip("FUSE over io_uring is off: echo Y > /sys/module/fuse/parameters/enable_uring");
    }
    check_second_sigterm("uring=on");
  });
}

TEST_CASE("a detached mount whose daemon is ended leaves the one that took its place",
          "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place(usual());
    REQUIRE(place.plyfs({"mount", "-o", kUsual, "mnt"}).exit_code == 0);
    const std::vector<pid_t> running = place.daemons();
    REQUIRE(running.size() == 1);
    File user(place("mnt/f"), O_RDWR);
    REQUIRE(user.pwrite("w", 0) == "ok");
    REQUIRE(run({is_root() ? "umount" : "fusermount3", is_root() ? "-l" : "-uz", place("mnt")})
                .exit_code == 0);
    REQUIRE(place.plyfs({"mount", "-o", "lowerdir=low2", "mnt"}).exit_code == 0);
    ::kill(running[0], SIGTERM);
    ::kill(running[0], SIGINT);  // a second SIGTERM could fall together with the first
    CHECK(wait_for(running[0], 60) == 0);
    (void)user.close();
    place.check_and_unmount({"g=2"});
  });
}

struct Refusal {
  const char* what;
  Arguments arguments;
  int exit_code;
  const char* named;  ///< must occur in the message
};

std::vector<Refusal> refusals() {
  return {
      {"missing layer",
       {"-o", "lowerdir=nothing,upperdir=upper,workdir=work", "mnt"},
       32,
       "nothing"},
      {"missing second layer", {"-o", "lowerdir=low:gone", "mnt"}, 32, "gone"},
      {"a file as a layer", {"-o", "lowerdir=low/f", "mnt"}, 32, "low/f"},
      {"missing upper", {"-o", "lowerdir=low,upperdir=nothing,workdir=work", "mnt"}, 32, "nothing"},
      {"a file as the upper",
       {"-o", "lowerdir=low,upperdir=low/f,workdir=work", "mnt"},
       32,
       "low/f"},
      {"missing work",
       {"-o", "lowerdir=low,upperdir=upper,workdir=no/thing", "mnt"},
       32,
       "no/thing"},
      {"missing mountpoint", {"-o", kUsual, "nowhere"}, 32, "nowhere"},
      {"a file as the mountpoint", {"-o", kUsual, "low/f"}, 32, "low/f"},
      {"upper inside a layer",
       {"-o", "lowerdir=.,upperdir=upper,workdir=work", "mnt"},
       32,
       "upper"},
      {"upper is a layer",
       {"-o", "lowerdir=low:upper,upperdir=upper,workdir=work", "mnt"},
       32,
       "upper"},
      {"work inside the upper",
       {"-o", "lowerdir=low,upperdir=work,workdir=work/in", "mnt"},
       32,
       "work/in"},
      {"work is the upper",
       {"-o", "lowerdir=low,upperdir=upper,workdir=upper", "mnt"},
       32,
       "upper"},
      {"unknown option", {"-o", "lowerdir=low,nonsense=1", "mnt"}, 1, "nonsense"},
      {"bad value", {"-o", "lowerdir=low,whiteout=blue", "mnt"}, 1, "whiteout"},
      {"no layers", {"mnt"}, 1, "lowerdir"},
      {"work without upper", {"-o", "lowerdir=low,workdir=work", "mnt"}, 1, "work"},
      {"empty layer", {"-o", "lowerdir=low::", "mnt"}, 1, "lowerdir"},
  };
}

TEST_CASE("bad input gets one line with cause and remedy, and leaves nothing", "[command]") {
  on(plyfs_only(), [](const System&) {
    Items items = usual();
    items.push_back(dir("work/in"));
    const Place place(items);
    const Dump before = full_dump(place.root());
    for (const Refusal& refusal : refusals()) {
      Arguments arguments = refusal.arguments;
      arguments.insert(arguments.begin(), "mount");
      const Ran ran = place.plyfs(arguments);
      INFO(refusal.what << ": " << ran.err);
      CHECK(ran.exit_code == refusal.exit_code);
      CHECK(ran.out.empty());
      CHECK(ran.err.starts_with("plyfs: "));
      CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
      CHECK(ran.err.find(refusal.named) != std::string::npos);
      CHECK(ran.err.find("; ") != std::string::npos);  // the remedy
      place.check_nothing_runs();
      CHECK_FALSE(is_mounted(place("mnt")));
      CHECK(difference(before, full_dump(place.root())).empty());
    }
  });
}

TEST_CASE("what is missing on the machine gets one line with cause and remedy", "[command][root]") {
  on(plyfs_only(), [](const System&) {
    if (!is_root()) {
      return skip("needs root: hiding a device from a mount namespace");
    }
    struct Lack {
      const char* hide;  ///< run in a mount namespace of its own
      const char* says;
    };
    for (const Lack& lack :
         {Lack{"mount -t tmpfs plyfs-dev /dev && mknod /dev/null c 1 3",
               "plyfs: cannot open the FUSE device: /dev/fuse: No such file or directory; load the "
               "module with 'modprobe fuse'; in a container pass '--device /dev/fuse'\n"},
          Lack{"mount --bind /dev/null /dev/fuse",
               "plyfs: cannot open the FUSE device: /dev/fuse: No such device; load the module "
               "with 'modprobe fuse'; in a container pass '--device /dev/fuse'\n"}}) {
      INFO(lack.hide);
      const Place place(usual());
      const Dump before = full_dump(place.root());
      const Ran ran = run(
          {"unshare", "-m", "sh", "-c",
           std::string{lack.hide} + " && exec \"$0\" mount -o " + kUsual + " mnt", plyfs_program()},
          place.root());
      CHECK(ran.exit_code == 32);
      CHECK(ran.out.empty());
      CHECK(ran.err == lack.says);
      CHECK(difference(before, full_dump(place.root())).empty());
    }
  });
}

TEST_CASE("no mountpoint and no command are wrong usage", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place(usual());
    for (const Arguments& arguments : {Arguments{"mount", "-o", kUsual}, Arguments{"nonsense"},
                                       Arguments{"mount", "--nonsense", "mnt"}}) {
      const Ran ran = place.plyfs(arguments);
      INFO(ran.err);
      CHECK(ran.exit_code == 1);
      CHECK(ran.err.starts_with("plyfs: "));
    }
    CHECK(place.plyfs({}).out == place.plyfs({"--help"}).out);
    CHECK(place.plyfs({"mont"}).err ==
          "plyfs: unknown command: mont: Invalid argument; did you mean 'mount'? see 'plyfs "
          "--help' for the known ones\n");
    CHECK(place.plyfs({"mount", "mnt", "--lowr", "low"}).err ==
          "plyfs: unknown option: --lowr: Invalid argument; did you mean '--lower'? see 'plyfs "
          "mount --help'\n");
    CHECK(
        place.plyfs({"mount", "-o", "lowrdir=low", "mnt"}).err.find("did you mean 'lowerdir'? ") !=
        std::string::npos);
    CHECK(place.plyfs({"mount", "--lower", "low", "--upper", "low", "mnt"})
              .err.find("it is the layer low itself") != std::string::npos);
    CHECK(place.plyfs({"--version"}).out.starts_with("plyfs version "));
    CHECK(place.plyfs({"--help"}).exit_code == 0);
    CHECK(place.plyfs({"mount", "--help"}).out.find("lowerdir") != std::string::npos);
  });
}

TEST_CASE("the drop-in form warns of unknown options and goes on", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place(usual());
    const std::string options = std::string(kUsual) + ",nonsense=1";
    const Ran ran = place.plyfs({"-o", options, "mnt"});
    CHECK(ran.exit_code == 0);
    CHECK(ran.err.find("nonsense=1") != std::string::npos);
    place.check_and_unmount({"f=1", "g=2"});
    REQUIRE(call::symlink(plyfs_program(), place("fuse-overlayfs")) == "ok");
    const Ran renamed = run({place("fuse-overlayfs"), "-o", kUsual, "mnt"}, place.root());
    place.check_mounted(renamed, {"f=1", "g=2"});
    const Ran version = run({place("fuse-overlayfs"), "--version"});
    CHECK(version.out.starts_with("fuse-overlayfs: version "));
  });
}

TEST_CASE("an upper that is in use is refused, and its mount goes on", "[command]") {
  on(plyfs_only(), [](const System&) {
    Items items = usual();
    items.push_back(dir("mnt2"));
    items.push_back(dir("work2"));
    items.push_back(dir("upper2"));
    const Place place(items);
    REQUIRE(place.plyfs({"mount", "-o", kUsual, "mnt"}).exit_code == 0);
    const std::vector<pid_t> running = place.daemons();
    for (const char* layers : {"lowerdir=low,upperdir=upper,workdir=work2",
                               "lowerdir=low,upperdir=upper2,workdir=work"}) {
      const Ran ran = place.plyfs({"mount", "-o", layers, "mnt2"});
      INFO(layers << ": " << ran.err);
      CHECK(ran.exit_code == 32);
      CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
      CHECK_FALSE(is_mounted(place("mnt2")));
      place.check_nothing_runs(running);
    }
    CHECK(call::append(place("mnt/f"), "+") == "ok");
    place.check_and_unmount({"f=1+", "g=2"});
  });
}

TEST_CASE("upper and work on different filesystems are refused", "[command][root]") {
  on(plyfs_only(), [](const System&) {
    if (!is_root()) {
      return skip("needs root: mounting filesystems");
    }
    const Place place(usual());
    REQUIRE(outcome(::mount("t", place("work").c_str(), "tmpfs", 0, nullptr)) == "ok");
    const Ran across = place.plyfs({"mount", "-o", kUsual, "mnt"});
    CHECK(across.exit_code == 32);
    CHECK(across.err.find("work") != std::string::npos);
    REQUIRE(outcome(::umount2(place("work").c_str(), 0)) == "ok");
    REQUIRE(outcome(::mount("t", place("upper").c_str(), "tmpfs", MS_RDONLY, nullptr)) == "ok");
    const Ran closed =
        place.plyfs({"mount", "-o", "lowerdir=low,upperdir=upper,workdir=upper", "mnt"});
    CHECK(closed.exit_code == 32);
    CHECK(closed.err.find("Read-only") != std::string::npos);
    REQUIRE(outcome(::umount2(place("upper").c_str(), 0)) == "ok");
    CHECK_FALSE(is_mounted(place("mnt")));
  });
}

TEST_CASE("colons, commas and backslashes in names are escaped", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place({file("a:b/f", "1"), file("c,d/g", "2"), file("e\\f/h", "3"),
                       file("with space/i", "4"), dir("up:p,er"), dir("wo,rk"), dir("mnt")});
    place.check_mounted(
        place.plyfs({"mount", "-o",
                     "lowerdir=a\\:b:c\\,d:e\\\\f:with space,upperdir=up\\:p\\,er,workdir=wo\\,rk",
                     "mnt"}),
        {"f=1", "g=2", "h=3", "i=4"});
    place.check_mounted(
        place.plyfs({"mount", "--lower", "a:b", "--lower", "c,d", "--lower", "e\\f", "--lower",
                     "with space", "--upper", "up:p,er", "--work", "wo,rk", "mnt"}),
        {"f=1", "g=2", "h=3", "i=4"});
  });
}

TEST_CASE("a path with .. goes through links as the kernel does", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place({file("real/inner/x", "no"), file("real/sibling/f", "1"),
                       file("sibling/f", "wrong"), symlink("link", "real/inner"), dir("upper"),
                       dir("work"), dir("mnt")});
    place.check_mounted(
        place.plyfs({"mount", "-o", "lowerdir=link/../sibling,upperdir=upper,workdir=work", "mnt"}),
        {"f=1"});
  });
}

TEST_CASE("a mountpoint inside one of its own layers works", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place(
        {file("low/f", "1"), file("low/d/g", "2"), dir("low/mnt"), dir("upper"), dir("work")});
    const Ran ran =
        place.plyfs({"mount", "-o", "lowerdir=low,upperdir=upper,workdir=work", "low/mnt"});
    INFO(ran.err);
    REQUIRE(ran.exit_code == 0);
    const std::vector<pid_t> running = place.daemons();
    for (const pid_t pid : running) {
      guard_daemon(pid);
    }
    CHECK(picture(place("low/mnt")) == Picture{"d/", "d/g=2", "f=1", "mnt/"});
    CHECK(call::append(place("low/mnt/d/g"), "+") == "ok");
    CHECK(call::create(place("low/mnt/mnt/new"), "n") == "ok");
    CHECK(content(place("low/mnt/d/g")) == "2+");
    CHECK(unmount(place("low/mnt")) == "ok");
    for (const pid_t pid : running) {
      CHECK(wait_for(pid, 60) == 0);
      release_daemon(pid);
    }
    CHECK(picture(place("low")) == Picture{"d/", "d/g=2", "f=1", "mnt/"});
  });
}

/// `count` layers with a file each, and one file that all of them have.
Items many_layers(int count) {
  Items items = {dir("upper"), dir("work"), dir("mnt")};
  for (int layer = 0; layer < count; ++layer) {
    const std::string number = std::to_string(layer);
    items.push_back(file("layer-with-a-long-name-" + number + "/d/f" + number, number));
    items.push_back(file("layer-with-a-long-name-" + number + "/same", number));
  }
  return items;
}

std::string layer_list(const std::string& root, int count) {
  std::string list;
  for (int layer = 0; layer < count; ++layer) {
    list += (layer == 0 ? "" : ":") + root + "/layer-with-a-long-name-" + std::to_string(layer);
  }
  return list;
}

TEST_CASE("100 and 500 layers, and option strings longer than a page", "[command]") {
  on(plyfs_only(), [](const System&) {
    for (const int count : {100, 500}) {
      INFO(count << " layers");
      const Place place(many_layers(count));
      const std::string options =
          "lowerdir=" + layer_list(place.root(), count) + ",upperdir=upper,workdir=work";
      CHECK(options.size() > 4096);
      const Ran ran = place.plyfs({"mount", "-o", options, "mnt"});
      INFO(ran.err);
      REQUIRE(ran.exit_code == 0);
      CHECK(content(place("mnt/same")) == "0");
      CHECK(names_in(place("mnt/d")).size() == static_cast<std::size_t>(count));
      const std::string last = std::to_string(count - 1);
      CHECK(call::append(place("mnt/d/f" + last), "+") == "ok");
      CHECK(content(place("mnt/d/f" + last)) == last + "+");
      CHECK(call::unlink(place("mnt/same")) == "ok");
      CHECK(call::stat(place("mnt/same")) == "ENOENT");
      place.end();
    }
  });
}

TEST_CASE("501 layers are refused", "[command]") {
  on(plyfs_only(), [](const System&) {
    const Place place(many_layers(501));
    const Ran ran =
        place.plyfs({"mount", "-o", "lowerdir=" + layer_list(place.root(), 501), "mnt"});
    CHECK(ran.exit_code == 1);
    CHECK(std::count(ran.err.begin(), ran.err.end(), '\n') == 1);
    CHECK_FALSE(is_mounted(place("mnt")));
  });
}

}  // namespace
}  // namespace plyfs::tests
