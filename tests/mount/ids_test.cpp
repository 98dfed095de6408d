// Ids that mean somebody else on disk (squash, mappings), and layers whose own mount is nosuid or
// nodev: nobody gets rights by them that he does not have on disk.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "attributes.h"
#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr uid_t kUser = 1234;
constexpr uid_t kNobody = 65534;
constexpr mode_t kSuid = 04755;

std::string mount_words(const std::string& mountpoint) {
  std::ifstream mounts{"/proc/self/mounts"};
  std::string line;
  while (std::getline(mounts, line)) {
    if (line.find(" " + mountpoint + " ") != std::string::npos) {
      return line;
    }
  }
  return {};
}

std::string mode_text(mode_t mode) {
  char text[16] = {};
  (void)std::snprintf(text, sizeof text, "%04o", mode);
  return text;
}

/// What a place of the mount and the same on disk say of privileges, before and after changes.
void check_no_privileges(const std::string& seen, const std::string& disk) {
  CHECK(mode_text(permissions(seen + "/s")) == "0755");
  CHECK(mode_text(permissions(seen + "/g")) == "0755");
  CHECK(mode_text(permissions(seen + "/dir")) == "2755");  // there it is about groups
  CHECK(xattr(seen + "/c", kCapability) == "<ENODATA>");
  CHECK(xattr_names(seen + "/c").empty());
  CHECK(call::setxattr(seen + "/s", kCapability, file_capability()) == "EPERM");
  CHECK(call::append(seen + "/s", "x") == "ok");
  CHECK(call::chmod(seen + "/g", 06755) == "ok");
  CHECK(call::chmod(seen + "/c", 0700) == "ok");
  CHECK(call::create(seen + "/new", "x", 0755) == "ok");
  CHECK(call::chmod(seen + "/new", kSuid) == "ok");
  for (const char* name : {"/s", "/g", "/new"}) {
    CAPTURE(name);
    CHECK(mode_text(permissions(seen + name)) == "0755");
    CHECK(mode_text(permissions(disk + name)) == "0755");
  }
}

Items privileged_items() {
  return {file("s", "1").with_owner(kUser, kUser).with_mode(kSuid), file("g", "1").with_mode(02755),
          file("c", "1").with_xattr(kCapability, file_capability()), dir("dir").with_mode(02755)};
}

TEST_CASE("where ids change nothing runs as somebody else", "[ids][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: files of several users");
    }
    for (const char* options : {"squash_to_root", "squash_to_uid=1234", "squash_to_gid=1234",
                                "uidmapping=0:0:70000,gidmapping=0:0:70000"}) {
      CAPTURE(options);
      Stack stack = Stack{}.lower(privileged_items()).upper({file("u", "1").with_mode(kSuid)});
      const std::string volume = fresh_directory();
      make_tree(volume, privileged_items(), overlay_prefix());
      stack.mount(system, std::string{options} + ",suid,volume=" + volume + ":/v,volume_mode=fuse");
      CHECK(mount_words(stack()).find("nosuid") != std::string::npos);
      check_no_privileges(stack(), stack.upper_path());
      CHECK(xattr(stack.upper_path("c"), kCapability) == "<ENODATA>");
      check_no_privileges(stack("v"), volume);
      // What had them on disk loses them when somebody writes to it.
      CHECK(call::append(stack("u"), "x") == "ok");
      stack.unmount();
      CHECK(mode_text(permissions(stack.upper_path("u"))) == "0755");
      remove_tree(volume);
    }
  });
}

TEST_CASE("what belongs to an id without a mapping is nobody's", "[ids][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: files of several users");
    }
    Stack stack =
        Stack{}
            .lower({file("readable", "1"), file("secret", "2").with_mode(0600), file("dir/x", "3"),
                    file("given", "4"), file("own", "5").with_owner(1000, 1000),
                    dir("all").with_mode(01777), file("all/x", "6")})
            .upper();
    const std::string volume = fresh_directory();
    make_tree(volume, {file("readable", "1"), file("secret", "2").with_mode(0600)},
              overlay_prefix());
    stack.mount(system, "uidmapping=1000:5000:10,gidmapping=1000:5000:10,volume=" + volume +
                            ":/v,volume_mode=fuse");
    CHECK(status(stack("readable")).st_uid == kNobody);
    CHECK(status(stack("own")).st_uid == 5000);
    CHECK(as_user(kNobody, kNobody,
                  [&] {
                    return joined(
                        {content(stack("readable")), content(stack("secret")),
                         call::append(stack("readable"), "x"), call::truncate(stack("readable"), 0),
                         call::chmod(stack("secret"), 0666), call::unlink(stack("dir/x")),
                         call::create(stack("dir/y")), call::rename(stack("dir/x"), stack("dir/z")),
                         call::unlink(stack("all/x")),
                         call::setxattr(stack("readable"), "user.x", "1"),
                         content(stack("v/secret")), call::append(stack("v/readable"), "x"),
                         call::chmod(stack("v/readable"), 0777)});
                  }) ==
          "1 <EACCES> EACCES EACCES EOVERFLOW EOVERFLOW EACCES EOVERFLOW EOVERFLOW EPERM <EACCES> "
          "EACCES EOVERFLOW");
    CHECK(call::chmod(stack("readable"), 0600) == "EOVERFLOW");
    CHECK(call::append(stack("readable"), "x") == "EACCES");
    CHECK(call::chown(stack("given"), 5001, 5001) == "ok");
    CHECK(call::append(stack("given"), "x") == "ok");
    CHECK(as_user(5000, 5000, [&] { return call::append(stack("own"), "x"); }) == "ok");
    CHECK(status(stack.upper_path("own")).st_uid == 1000);
    remove_tree(volume);
  });
}

TEST_CASE("root outside of the mapping makes what is nobody's", "[ids][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: files of several users");
    }
    struct Row {
      const char* map;
      uid_t on_disk;
    };
    // The second maps the overflow id to a user of the view, who must not get it.
    for (const Row& row : {Row{"1000:5000:10", kNobody}, Row{"0:100000:65536", UINT32_MAX - 1}}) {
      CAPTURE(row.map);
      const uid_t owner = row.map[0] == '0' ? 0 : 1000;
      Stack stack = Stack{}.lower({dir("all").with_owner(owner, owner).with_mode(0777)}).upper();
      const std::string volume = fresh_directory();
      REQUIRE(::chmod(volume.c_str(), 0777) == 0);
      REQUIRE(::chown(volume.c_str(), owner, owner) == 0);
      stack.mount(system, std::string{"uidmapping="} + row.map + ",gidmapping=" + row.map +
                              ",volume=" + volume + ":/v,volume_mode=fuse");
      for (const auto& [seen, disk] :
           {std::pair{stack("all"), stack.upper_path("all")}, std::pair{stack("v"), volume}}) {
        CHECK(joined({call::create(seen + "/f", "content"), call::mkdir(seen + "/d"),
                      call::symlink("/proc/mounts", seen + "/mtab"), content(seen + "/f"),
                      link_target(seen + "/mtab")}) == "ok ok ok content /proc/mounts");
        CHECK(status(disk + "/f").st_uid == row.on_disk);
        CHECK(status(seen + "/f").st_uid == kNobody);
        CHECK(call::chown(seen + "/d", row.map[0] == '0' ? 100000 : 5000, 0) == "EINVAL");
        for (const uid_t caller : {kUser, kNobody, uid_t{165534}}) {
          const bool mapped = caller == 165534 && row.map[0] == '0';
          CHECK(as_user(caller, caller, [&, at = seen] {
                  return joined({call::create(at + "/theirs" + std::to_string(caller)),
                                 call::append(at + "/f", "x"), call::chmod(at + "/f", 0777)});
                }) == (mapped ? "ok EACCES EOVERFLOW" : "EOVERFLOW EACCES EOVERFLOW"));
        }
      }
      remove_tree(volume);
    }
  });
}

/// The layer refuses to run anything as somebody else, and to open devices.
void restrict_mount(const std::string& directory) {
  REQUIRE(::mount(directory.c_str(), directory.c_str(), nullptr, MS_BIND, nullptr) == 0);
  REQUIRE(::mount(nullptr, directory.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV,
                  nullptr) == 0);
}

TEST_CASE("nosuid and nodev of a layer's or volume's own mount hold in the union", "[ids][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: mounts");
    }
    Items items = privileged_items();
    items.push_back(device("null", S_IFCHR, 1, 3).with_mode(0666));
    for (const bool in_volume : {false, true}) {
      CAPTURE(in_volume);
      Stack stack = Stack{}
                        .lower(in_volume ? Items{} : items)
                        .lower({file("free", "1").with_mode(kSuid)})
                        .upper();
      stack.build(system);
      const std::string volume = fresh_directory();
      make_tree(volume, items, overlay_prefix());
      const std::string restricted = in_volume ? volume : stack.lower_path(0);
      restrict_mount(restricted);
      stack.mount(system, in_volume ? "volume=" + volume + ":/v,volume_mode=fuse" : "");
      const std::string seen = in_volume ? stack("v") : stack();
      CHECK(mode_text(permissions(stack("free"))) == "4755");
      CHECK(mode_text(permissions(seen + "/s")) == "0755");
      CHECK(mode_text(permissions(seen + "/dir")) == "2755");
      CHECK(xattr(seen + "/c", kCapability) == "<ENODATA>");
      CHECK(call::append(seen + "/null", "x") == "EACCES");
      if (!in_volume) {
        CHECK(call::append(stack("c"), "x") == "ok");
        CHECK(call::chown(stack("s"), kUser, 0) == "ok");
        CHECK(mode_text(permissions(stack.upper_path("s"))) == "0755");
        CHECK(call::chmod(stack("s"), kSuid) == "ok");  // the upper is not restricted
        CHECK(mode_text(permissions(stack("s"))) == "4755");
      }
      stack.unmount();
      CHECK(::umount2(restricted.c_str(), MNT_DETACH) == 0);
      remove_tree(volume);
    }
  });
}

/// The largest offset and number that a directory tells.
std::pair<std::uint64_t, std::uint64_t> largest(const std::string& directory) {
  std::uint64_t offset = 0;
  std::uint64_t number = 0;
  const File opened(directory, O_RDONLY | O_DIRECTORY);
  std::vector<char> buffer(4096);
  for (;;) {
    const long got = ::syscall(SYS_getdents64, opened.fd(), buffer.data(), buffer.size());
    if (got <= 0) {
      return {offset, number};
    }
    for (long at = 0; at < got;) {
      dirent64 entry{};
      std::memcpy(&entry, buffer.data() + at, offsetof(dirent64, d_name));
      offset = std::max(offset, static_cast<std::uint64_t>(entry.d_off));
      number = std::max(number, static_cast<std::uint64_t>(entry.d_ino));
      at += entry.d_reclen;
    }
  }
}

TEST_CASE("numbers fit programs of 32 bits", "[ids]") {
  on(plyfs_only(), [](const System& system) {
    Items many;
    for (int i = 0; i < 3000; ++i) {
      many.push_back(file("many/" + std::to_string(i)));
    }
    Stack stack = Stack{}.lower(many).upper({file("u", "1")});
    const std::string volume = fresh_directory();
    make_tree(volume, {file("x", "1"), file("d/y")}, overlay_prefix());
    stack.mount(system, "volume=" + volume + ":/v,volume_mode=fuse");
    for (const std::string path : {"", "many", "v", "v/d"}) {
      CAPTURE(path);
      const auto [offset, number] = largest(stack(path));
      CHECK(offset <= INT32_MAX);
      CHECK(number <= UINT32_MAX);
      CHECK(status(stack(path)).st_ino <= UINT32_MAX);
    }
    CHECK(names_in(stack("many")).size() == 3000);
    CHECK(sorted_names_in(stack()) == std::vector<std::string>{"many", "u", "v"});
    CHECK(status(stack("v/x")).st_ino <= UINT32_MAX);
    CHECK(status(stack("v/x")).st_ino != status(stack("u")).st_ino);
    stack.unmount();
    remove_tree(volume);
  });
}

}  // namespace
}  // namespace plyfs::tests
