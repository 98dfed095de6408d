// Who may do what: modes, sticky directories and ACLs, asked as other users.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <map>

#include "attributes.h"
#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr uid_t kUser = 1234;
constexpr gid_t kGroup = 4321;
constexpr uid_t kStranger = 5678;

Systems all_systems() {
  Systems systems = every_union();
  systems.insert(systems.begin(), posix_systems().front());
  return systems;
}

TEST_CASE("a stranger is refused what the modes refuse", "[permission][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: other users");
    }
    Stack stack =
        Stack{}
            .lower({file("private", "1").with_owner(kUser, kGroup).with_mode(0600),
                    file("open", "2").with_owner(kUser, kGroup).with_mode(0644),
                    file("closed/x", "3"), dir("closed").with_owner(kUser, kGroup).with_mode(0700),
                    dir("readable").with_mode(0755), file("readable/x", "4"),
                    file("shared", "5").with_owner(kUser, kGroup).with_mode(0666)})
            .upper();
    stack.mount(system);
    const std::string answers = as_user(kStranger, kStranger, [&] {
      return joined({content(stack("private")), content(stack("open")), content(stack("closed/x")),
                     names_in(stack("closed"))[0], call::append(stack("open"), "x"),
                     call::append(stack("shared"), "+"), call::chmod(stack("shared"), 0600),
                     call::chown(stack("shared"), kStranger, kStranger),
                     call::truncate(stack("open"), 0), call::utimens(stack("open"), {1, 1}, {1, 1}),
                     call::utimens(stack("shared"), {0, UTIME_NOW}, {0, UTIME_NOW}),
                     call::utimens(stack("open"), {0, UTIME_NOW}, {0, UTIME_NOW}),
                     call::create(stack("readable/new")), call::unlink(stack("readable/x")),
                     call::rename(stack("readable/x"), stack("readable/y")),
                     call::mkdir(stack("readable/d")), call::setxattr(stack("open"), "user.k", "v"),
                     call::access(stack("open"), W_OK), call::access(stack("open"), R_OK)});
    });
    CHECK(answers ==
          "<EACCES> 2 <EACCES> <EACCES> EACCES ok EPERM EPERM EACCES EPERM ok EACCES EACCES EACCES "
          "EACCES EACCES EACCES EACCES ok");
    CHECK(content(stack("shared")) == "5+");
    CHECK(stack.left_overs() == Picture{});
  });
}

TEST_CASE("devices work in root's mounts", "[permission][root]") {
  on(every_union(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: devices");
    }
    Stack stack = Stack{}.lower({device("null", S_IFCHR, 1, 3).with_mode(0666)}).upper();
    stack.mount(system);
    CHECK(joined({call::append(stack("null"), "x"),
                  call::mknod(stack("zero"), S_IFCHR | 0666, makedev(1, 5)),
                  call::append(stack("zero"), "y"), content(stack("null"))}) == "ok ok ok ");
  });
}

/// The mode as a program sees it that asks for the mode only: what is known of times or sizes is no
/// help.
std::string mode_alone(const std::string& path) {
  struct statx answer {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_MODE, &answer) != 0) {
    return outcome(-1);
  }
  char text[8];
  (void)std::snprintf(text, sizeof text, "%04o", answer.stx_mode & 07777U);
  return text;
}

TEST_CASE("who writes without privileges sees the suid and sgid bits go at once", "[permission]") {
  constexpr std::size_t kBlock = 4096;
  const std::map<std::string, std::function<std::string(const std::string&)>> ways = {
      {"append", [](const std::string& path) { return call::append(path, "x"); }},
      {"direct",
       [](const std::string& path) {
         alignas(kBlock) static const char block[kBlock] = {};
         File direct{path, O_WRONLY | O_DIRECT};  // of a tmpfs before Linux 6.6: EINVAL
         return (direct.opened() == "ok" ? direct : direct = File{path, O_WRONLY})
             .write({block, kBlock});
       }},
      {"fallocate",
       [](const std::string& path) {
         return outcome(::fallocate(File{path, O_RDWR}.fd(), 0, 0, 2 * kBlock));
       }},
      {"copy",
       [](const std::string& path) {
         const File file{path, O_RDWR};
         off_t from = 0;
         off_t to = kBlock;
         const ssize_t copied = ::copy_file_range(file.fd(), &from, file.fd(), &to, kBlock, 0);
         return outcome(copied < 0 ? -1 : 0);
       }},
      {"truncate", [](const std::string& path) { return call::truncate(path, 1); }},
      {"O_TRUNC", [](const std::string& path) { return call::overwrite(path, "x"); }},
  };
  on(every_union(), [&](const System& system) {
    Items items;
    for (const auto& [name, way] : ways) {
      items.push_back(file(name, std::string(kBlock, '-')));
    }
    Stack stack = Stack{}.lower(items).upper();
    stack.mount(system);
    for (const auto& each : ways) {
      INFO(each.first);
      const auto& way = each.second;
      const std::string path = stack(each.first);
      if (is_root()) {
        REQUIRE(call::chown(path, kUser, kGroup) == "ok");
      }
      REQUIRE(call::chmod(path, 06755) == "ok");
      CHECK(mode_alone(path) == "6755");
      CHECK((is_root() ? as_user(kUser, kGroup, [&] { return way(path); }) : way(path)) == "ok");
      CHECK(mode_alone(path) == "0755");
    }
  });
}

TEST_CASE("an owner may change what belongs to the owner", "[permission][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: other users");
    }
    Stack stack = Stack{}
                      .lower({dir("d").with_owner(kUser, kGroup),
                              file("d/f", "1").with_owner(kUser, kGroup).with_mode(0400),
                              file("d/root", "2")})
                      .upper();
    stack.mount(system);
    const std::string answers = as_user(kUser, kGroup, [&] {
      return joined({call::append(stack("d/f"), "x"), call::chmod(stack("d/f"), 0600),
                     call::append(stack("d/f"), "+"), call::setxattr(stack("d/f"), "user.k", "v"),
                     call::chown(stack("d/f"), kStranger, kGroup), call::unlink(stack("d/root")),
                     call::rename(stack("d/f"), stack("d/g")), call::mkdir(stack("d/s"))});
    });
    CHECK(answers == "EACCES ok ok ok EPERM ok ok ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"d/", "d/g=1+", "d/s/"});
  });
}

TEST_CASE("in a sticky directory only owners delete and rename", "[permission][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: other users");
    }
    Stack stack =
        Stack{}
            .lower({dir("tmp").with_mode(01777),
                    file("tmp/low", "1").with_owner(kUser, kGroup).with_mode(0666),
                    dir("tmp/dir").with_owner(kUser, kGroup).with_mode(0777),
                    file("tmp/mine", "2").with_owner(kStranger, kStranger)})
            .upper({dir("tmp").with_mode(01777), file("tmp/up", "3").with_owner(kUser, kGroup)});
    stack.mount(system);
    const std::string answers = as_user(kStranger, kStranger, [&] {
      return joined(
          {call::unlink(stack("tmp/low")), call::unlink(stack("tmp/up")),
           call::rmdir(stack("tmp/dir")), call::rename(stack("tmp/low"), stack("tmp/x")),
           call::rename(stack("tmp/mine"), stack("tmp/low")), call::append(stack("tmp/low"), "+"),
           call::create(stack("tmp/new")), call::unlink(stack("tmp/new")),
           call::rename(stack("tmp/mine"), stack("tmp/m2")), call::unlink(stack("tmp/m2"))});
    });
    CHECK(answers == "EPERM EPERM EPERM EPERM EPERM ok ok ok ok ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"tmp/", "tmp/dir/", "tmp/low=1+", "tmp/up=3"});
  });
}

TEST_CASE("an ACL lets in whom it names, and its mask bounds it", "[permission][acl][root]") {
  on(all_systems(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: other users");
    }
    Stack stack = Stack{}
                      .lower({file("f", "1").with_mode(0640).with_xattr(
                          kAccessAcl, acl_for_user(6, kStranger, 6, 4, 6, 0))})
                      .upper();
    stack.mount(system);
    const auto as_stranger = [&] {
      return as_user(kStranger, kStranger, [&] {
        return joined({call::access(stack("f"), R_OK), call::access(stack("f"), W_OK)});
      });
    };
    CHECK(as_stranger() == "ok ok");
    CHECK(as_user(kUser, kUser, [&] { return call::access(stack("f"), R_OK); }) == "EACCES");
    REQUIRE(call::chmod(stack("f"), 0640) == "ok");
    CHECK(acl_text(xattr(stack("f"), kAccessAcl)) == "u::6,u:5678:6,g::4,m::4,o::0");
    CHECK(as_stranger() == "ok EACCES");
    stack.remount();
    CHECK(as_stranger() == "ok EACCES");
    REQUIRE(call::removexattr(stack("f"), kAccessAcl) == "ok");
    CHECK(as_stranger() == "EACCES EACCES");
    CHECK(xattr(stack("f"), kAccessAcl) == "<ENODATA>");
    CHECK(as_user(kStranger, kStranger, [&] {
            return call::setxattr(stack("f"), kAccessAcl, acl_for_user(6, kStranger, 6, 4, 6, 0));
          }) == "EPERM");
  });
}

TEST_CASE("setting an ACL sets the mode, and a short one leaves only the mode",
          "[permission][acl]") {
  on(all_systems(), [](const System& system) {
    if (!acls_work(workspace())) {
      return skip("needs a filesystem with POSIX ACLs");
    }
    using Tag = AclEntry::Tag;
    const uid_t named = is_root() ? kUser : ::getuid();  // others have no name in a user namespace
    Stack stack = Stack{}.lower({file("f", "1"), file("g", "2"), dir("d")}).upper();
    stack.mount(system);
    REQUIRE(call::setxattr(stack("f"), kAccessAcl, acl_for_user(7, named, 5, 4, 7, 1)) == "ok");
    CHECK(permissions(stack("f")) == 0771);
    const std::string minimal = acl({{Tag::kOwner, 6}, {Tag::kOwningGroup, 4}, {Tag::kOther, 0}});
    REQUIRE(call::setxattr(stack("g"), kAccessAcl, minimal) == "ok");
    CHECK(permissions(stack("g")) == 0640);
    CHECK(xattr(stack("g"), kAccessAcl) == "<ENODATA>");
    CHECK(call::setxattr(stack("f"), kDefaultAcl, minimal) == "EACCES");
    CHECK(call::setxattr(stack("f"), kAccessAcl, "nonsense") == "EOPNOTSUPP");
    CHECK(call::setxattr(stack("d"), kDefaultAcl, acl_for_user(7, named, 7, 5, 7, 5)) == "ok");
    CHECK(xattr_names(stack("f")) == std::vector<std::string>{kAccessAcl});
    CHECK(xattr_names(stack("d")) == std::vector<std::string>{kDefaultAcl});
    stack.remount();
    CHECK(permissions(stack("f")) == 0771);
    const std::string user = "u:" + std::to_string(named);
    CHECK(acl_text(xattr(stack("f"), kAccessAcl)) == "u::7," + user + ":5,g::4,m::7,o::1");
    CHECK(acl_text(xattr(stack("d"), kDefaultAcl)) == "u::7," + user + ":7,g::5,m::7,o::5");
  });
}

TEST_CASE("an ACL set by a user outside of the group takes sgid away", "[permission][acl][root]") {
  on(every_union(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: other users");
    }
    if (!acls_work(workspace())) {
      return skip("needs a filesystem with POSIX ACLs");
    }
    using Tag = AclEntry::Tag;
    const std::string minimal = acl({{Tag::kOwner, 7}, {Tag::kOwningGroup, 7}, {Tag::kOther, 7}});
    const std::string extended = acl_for_user(7, kStranger, 6, 7, 7, 7);
    for (const std::string& value : {minimal, extended}) {
      INFO(value.size());
      Stack stack = Stack{}
                        .lower({file("f").with_owner(kUser, kGroup).with_mode(02755),
                                dir("d").with_owner(kUser, kGroup).with_mode(02755)})
                        .upper();
      stack.mount(system);
      const auto set = [&](gid_t group) {
        return as_user(kUser, group, [&] {
          return joined({call::setxattr(stack("f"), kAccessAcl, value),
                         call::setxattr(stack("d"), kAccessAcl, value)});
        });
      };
      CHECK(set(kGroup) == "ok ok");
      CHECK(permissions(stack("f")) == 02777);
      CHECK(permissions(stack("d")) == 02777);
      CHECK(set(kGroup + 1) == "ok ok");
      CHECK(permissions(stack("f")) == 0777);
      CHECK(permissions(stack("d")) == 0777);
    }
  });
}

TEST_CASE("a default ACL is inherited instead of the umask", "[permission][acl]") {
  on(all_systems(), [](const System& system) {
    if (!acls_work(workspace())) {
      return skip("needs a filesystem with POSIX ACLs");
    }
    const std::string inherited = acl_for_user(7, kUser, 6, 5, 7, 0);
    Stack stack = Stack{}
                      .lower({dir("low").with_xattr(kDefaultAcl, inherited), file("low/w")})
                      .upper({dir("up").with_xattr(kDefaultAcl, inherited)});
    stack.mount(system);
    REQUIRE(call::unlink(stack("low/w")) == "ok");
    const mode_t before = ::umask(077);
    for (const std::string at : {"low/", "up/"}) {
      REQUIRE(call::create(stack(at + "f"), "", 0666) == "ok");
      REQUIRE(call::create(stack(at + "w"), "", 0640) == "ok");
      REQUIRE(call::mkdir(stack(at + "d"), 0777) == "ok");
      REQUIRE(call::mknod(stack(at + "p"), S_IFIFO | 0666) == "ok");
      REQUIRE(call::symlink("x", stack(at + "l")) == "ok");
    }
    ::umask(before);
    stack.remount();
    for (const std::string at : {"low/", "up/"}) {
      INFO(at);
      CHECK(permissions(stack(at + "f")) == 0660);
      CHECK(acl_text(xattr(stack(at + "f"), kAccessAcl)) == "u::6,u:1234:6,g::5,m::6,o::0");
      CHECK(permissions(stack(at + "w")) == 0640);
      CHECK(acl_text(xattr(stack(at + "w"), kAccessAcl)) == "u::6,u:1234:6,g::5,m::4,o::0");
      CHECK(permissions(stack(at + "d")) == 0770);
      CHECK(acl_text(xattr(stack(at + "d"), kAccessAcl)) == "u::7,u:1234:6,g::5,m::7,o::0");
      CHECK(xattr(stack(at + "d"), kDefaultAcl) == inherited);
      CHECK(permissions(stack(at + "p")) == 0660);
      CHECK(xattr(stack(at + "f"), kDefaultAcl) == "<ENODATA>");
    }
  });
}

/// What the mounting user sees of directories that are closed to him below.
const char* const kClosedDirectoryScript = R"sh(cd "$1" || exit 1
say() { echo "$1: $(LC_ALL=C; export LC_ALL; shift; "$@" 2>&1 | sed 's/.*: //')"; }
say 'mode of closed' stat -c %a closed
say 'list closed' ls closed
say 'list both' ls -U both
say 'upper file of both' cat both/u
say 'lower file of both' cat both/b
say 'no file of both' cat both/none
say 'file of closed' cat closed/s
say 'new in closed' touch closed/x
say 'new in both' touch both/x
say 'mkdir in both' mkdir both/b
say 'rmdir both' rmdir both
say 'rmdir closed' rmdir closed
say 'chmod closed' chmod 755 closed
)sh";

/// fusermount3 wants a user with a name.
constexpr uid_t kNobody = 65534;

TEST_CASE("a lower directory that is closed to the mounting user is refused as the kernel does",
          "[permission][root]") {
  on(unions(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: another user's layer");
    }
    const std::string place = fresh_directory();
    for (const char* name : {"low", "up", "work", "mnt"}) {
      REQUIRE(call::mkdir(place + "/" + name) == "ok");
    }
    make_tree(place + "/low",
              {dir("closed").with_mode(0700), file("closed/s", "s"), dir("both").with_mode(0700),
               file("both/b", "b")},
              overlay_prefix());
    make_tree(place + "/up", {file("both/u", "u")}, overlay_prefix());
    for (const char* name : {"up", "up/both", "up/both/u", "work", "mnt"}) {
      REQUIRE(call::chown(place + "/" + name, kNobody, kNobody) == "ok");
    }
    const std::string layers =
        "lowerdir=" + place + "/low,upperdir=" + place + "/up,workdir=" + place + "/work";
    const std::string mount = system.is_kernel()
                                  ? "mount -t overlay overlay -o " + layers + ",userxattr "
                                  : plyfs_program() + " mount -o " + layers + " ";
    const std::string unmount = system.is_kernel() ? "umount " : "cd / && fusermount3 -u ";
    Arguments command = {"setpriv", "--reuid=" + std::to_string(kNobody),
                         "--regid=" + std::to_string(kNobody), "--clear-groups"};
    if (system.is_kernel()) {
      command.insert(command.end(), {"unshare", "-Urm"});
    }
    command.insert(command.end(), {"sh", "-c",
                                   mount + place + "/mnt || exit 99\n(" + kClosedDirectoryScript +
                                       ")\n" + unmount + place + "/mnt",
                                   "sh", place + "/mnt"});
    const Ran ran = run(command, "/");
    if (ran.exit_code == 99 || ran.err.find("unshare") != std::string::npos) {
      remove_tree(place);
      return skip("an ordinary user cannot mount " + system.name + " here: " + ran.err);
    }
    CHECK(ran.err.empty());
    CHECK(ran.out ==
          "mode of closed: 700\n"
          "list closed: Permission denied\n"
          "list both: Permission denied\n"
          "upper file of both: u\n"
          "lower file of both: Permission denied\n"
          "no file of both: Permission denied\n"
          "file of closed: Permission denied\n"
          "new in closed: Permission denied\n"
          "new in both: Permission denied\n"
          "mkdir in both: Permission denied\n"
          "rmdir both: Permission denied\n"
          "rmdir closed: Permission denied\n"
          "chmod closed: Operation not permitted\n");
    remove_tree(place);
  });
}

}  // namespace
}  // namespace plyfs::tests
