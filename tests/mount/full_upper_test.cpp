// An upper that is full: real filesystems with little room, and a quota that a user has used up.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "filesystems.h"
#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

/// fusermount3 wants a user with a name, and quotas do not hold for root.
constexpr uid_t kNobody = 65534;
constexpr std::size_t kBig = std::size_t{4} << 20U;

/// What the mounting user sees. `$1` is the place, `$2` plyfs, `$3` the options.
const char* const kScript = R"sh(cd "$1" || exit 1
say() { echo "$1: $(LC_ALL=C; export LC_ALL; shift; "$@" 2>&1 | sed 's/.*: //')"; }
show() {
  say "$1 size" stat -c '%s %a' mnt/big
  say "$1 content" cmp mnt/big low/big
  say "$1 names" ls mnt
}
"$2" mount -o "$3" mnt || exit 99
say 'cut by a byte' truncate -s 4194303 mnt/big
show 'then'
say 'cut by a byte again' truncate -s 4194303 mnt/big
say 'appended' dd if=low/small of=mnt/big oflag=append conv=notrunc,fsync status=none
say 'a small one' dd if=low/small of=mnt/small oflag=append conv=notrunc,fsync status=none
say 'mode only' chmod 600 mnt/big
say 'removed' rm mnt/gone
"$2" inspect mnt | grep -o 'write /.*the upper layer[^"]*' | sort -u
fusermount3 -u mnt || exit 98
say 'left over' ls work/work
say 'upper' ls room/up
"$2" mount -o "$3" mnt || exit 97
show 'after remount'
say 'small after remount' cat mnt/small
fusermount3 -u mnt || exit 96
)sh";

/// `#whiteout` is what all whiteouts are links of; the next mount removes it.
std::string expected(const std::string& error) {
  return "cut by a byte: " + error +
         "\nthen size: 4194304 644\nthen content: \nthen names: big\ngone\nsmall\n"
         "cut by a byte again: " +
         error + "\nappended: " + error +
         "\na small one: \nmode only: \nremoved: \nwrite /big: " + error +
         "; free some space on the filesystem of the upper layer" +
         (error.starts_with("Disk") ? ", or raise the quota" : "") +
         "\nleft over: #whiteout\nupper: big\ngone\nsmall\n"
         "after remount size: 4194304 600\nafter remount content: \n"
         "after remount names: big\nsmall\nsmall after remount: 1\n1\n";
}

TEST_CASE("an upper without room refuses the change and shows the old state", "[copyup][root]") {
  struct Room {
    const char* what;
    const char* mount_options;
    const char* error;
  };
  on(plyfs_only(), [](const System&) {
    if (!is_root()) {
      return skip("needs root: filesystems with little room");
    }
    for (const Room& room :
         {Room{"a full filesystem", "size=1m,mode=0777", "No space left on device"},
          Room{"a used up quota", "size=64m,mode=0777,usrquota,usrquota_block_hardlimit=1m",
               "Disk quota exceeded"}}) {
      INFO(room.what);
      const std::string place = fresh_directory();
      make_tree(place,
                {file("low/big", pattern(kBig)), file("low/small", "1\n"), file("low/gone", "2"),
                 dir("room"), dir("mnt")},
                overlay_prefix());
      const std::string directory = place + "/room";
      if (::mount("plyfs-room", directory.c_str(), "tmpfs", 0, room.mount_options) != 0) {
        skip(std::string{"tmpfs takes no "} + room.mount_options);
        remove_tree(place);
        continue;
      }
      if (call::setxattr(directory, "user.probe", "1") != "ok") {
        // Without marks a change of the mode would copy the data.
        CHECK(outcome(::umount2(directory.c_str(), 0)) == "ok");
        remove_tree(place);
        return skip("needs a tmpfs with user.* xattrs (Linux 6.6)");
      }
      make_tree(directory, {dir("up"), dir("work")}, overlay_prefix());
      REQUIRE(call::symlink("room/work", place + "/work") == "ok");
      for (const char* name :
           {"low", "low/big", "low/small", "low/gone", "room/up", "room/work", "mnt"}) {
        REQUIRE(call::chown(place + "/" + name, kNobody, kNobody) == "ok");
      }
      const std::string user = std::to_string(kNobody);
      const std::vector<pid_t> before = children();
      const Ran ran = run(
          {"setpriv", "--reuid=" + user, "--regid=" + user, "--clear-groups", "sh", "-c", kScript,
           "sh", place, plyfs_program(), "lowerdir=low,upperdir=room/up,workdir=room/work"},
          "/");
      for (const pid_t pid : children()) {
        if (std::find(before.begin(), before.end(), pid) == before.end()) {
          CHECK(wait_for(pid, 60) == 0);  // daemons that have just been unmounted
        }
      }
      CHECK(outcome(::umount2(directory.c_str(), 0)) == "ok");
      remove_tree(place);
      if (ran.exit_code == 99) {
        return skip("an ordinary user cannot mount here: " + ran.err);
      }
      CHECK(ran.exit_code == 0);
      CHECK(ran.err.empty());
      CHECK(ran.out == expected(room.error));
    }
  });
}

TEST_CASE("what does not fit as a whole is an error by the time of fsync", "[io][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: filesystems with little room");
    }
    const std::string place = fresh_directory();
    make_tree(place, {dir("low"), dir("room"), dir("mnt")}, overlay_prefix());
    const std::string room = place + "/room";
    REQUIRE(outcome(::mount("plyfs-room", room.c_str(), "tmpfs", 0, "size=1m")) == "ok");
    make_tree(room, {dir("up"), dir("work")}, overlay_prefix());
    std::string options =
        "lowerdir=" + place + "/low,upperdir=" + room + "/up,workdir=" + room + "/work";
    options += system.options.empty() ? "" : "," + system.options;
    const std::vector<pid_t> before = children();
    REQUIRE(run({plyfs_program(), "mount", "-o", options, place + "/mnt"}).exit_code == 0);
    {
      File most(place + "/mnt/most", O_WRONLY | O_CREAT);
      REQUIRE(most.write(pattern(900'000)) == "ok");
      REQUIRE(outcome(::fsync(most.fd())) == "ok");
      // Gathered by the kernel, and sent as one WRITE, of which a third has room.
      File last(place + "/mnt/last", O_WRONLY | O_CREAT);
      const std::string data = pattern(300'000);
      const std::string written = last.write(data);
      CHECK((written == "ENOSPC" || outcome(::fsync(last.fd())) == "ENOSPC"));
      CHECK((content(place + "/mnt/most") == pattern(900'000)));
    }
    CHECK(outcome(::umount2((place + "/mnt").c_str(), 0)) == "ok");
    for (const pid_t pid : children()) {
      if (std::find(before.begin(), before.end(), pid) == before.end()) {
        CHECK(wait_for(pid, 60) == 0);
      }
    }
    CHECK(outcome(::umount2(room.c_str(), 0)) == "ok");
    remove_tree(place);
  });
}

constexpr std::size_t kTooMuch = std::size_t{3} << 19U;  // 1.5 MiB into 1.1: no request ends there

/// The first outcome that is not "ok".
std::string write_then(const std::string& path, std::string (*end)(File& file)) {
  File file(path, O_RDWR | O_CREAT);
  const std::string written = file.write(pattern(kTooMuch));
  const std::string ended = end(file);
  return written == "ok" ? ended : written;
}

/// Fills a file by a mapping. In a process of its own: there is SIGBUS where pages are refused.
std::string map_and_fill(const std::string& path) {
  return in_child([&] {
    const File file(path, O_RDWR | O_CREAT);
    if (::ftruncate(file.fd(), kTooMuch) != 0) {
      return outcome(-1);
    }
    void* const map = ::mmap(nullptr, kTooMuch, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
    if (map == MAP_FAILED) {
      return outcome(-1);
    }
    std::memset(map, 'm', kTooMuch);
    return outcome(::msync(map, kTooMuch, MS_SYNC));
  });
}

std::string sync_file(File& file) { return outcome(::fsync(file.fd())); }
std::string close_file(File& file) { return file.close(); }

TEST_CASE("what fits in part only is an error of write, fsync, close or msync", "[content][root]") {
  on(unions(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: filesystems with little room");
    }
    Stack stack = Stack{}.lower({file("f", "1")}).upper().on_filesystems("tmpfs", "tmpfs-small");
    stack.mount(system);
    CHECK(write_then(stack("synced"), sync_file) == "ENOSPC");
    CHECK(call::unlink(stack("synced")) == "ok");
    CHECK(write_then(stack("closed"), close_file) == "ENOSPC");
    CHECK(call::unlink(stack("closed")) == "ok");
    CHECK(write_then(stack("f"), sync_file) == "ENOSPC");
    CHECK(call::truncate(stack("f"), 0) == "ok");
    CHECK(map_and_fill(stack("mapped")) == (system.is_kernel() ? "<died>" : "ENOSPC"));
    CHECK(call::unlink(stack("mapped")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"f="});
    CHECK(stack.left_overs() == Picture{});
  });
}

TEST_CASE("what fits in a volume in part only is an error of write or msync", "[volume][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: filesystems with little room");
    }
    Stack stack = Stack{}.lower({dir("v")}).upper();
    const std::string source = stack.directory() + "/source";
    REQUIRE(call::mkdir(source) == "ok");
    const MountedFilesystem small("tmpfs-small", source, stack.directory() + "/scratch");
    stack.mount(system, "volume_mode=fuse,volume=" + source + ":/v");
    CHECK(write_then(stack("v/synced"), sync_file) == "ENOSPC");
    CHECK(call::unlink(stack("v/synced")) == "ok");
    CHECK(map_and_fill(stack("v/mapped")) == "ENOSPC");
    stack.unmount();
  });
}

}  // namespace
}  // namespace plyfs::tests
