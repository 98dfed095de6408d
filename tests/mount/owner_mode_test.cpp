// Directories whose mode shuts their own owner out (0555, 0500, 0000: module caches, rsync -a,
// nix): whatever the mode, a union answers and shows what a plain directory of that user does.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "attributes.h"
#include "process.h"
#include "stack.h"

namespace plyfs::tests {
namespace {

constexpr mode_t kModes[] = {0000, 0100, 0200, 0300, 0400, 0500,  0600,
                             0700, 0555, 0311, 0444, 0755, 02555, 01555};

struct OwnerVerb {
  const char* name;
  /// `at` is the case's own directory: `d` (mode), in it the file `f`, `s` (mode) with the file `g`
  /// and `e` (mode, empty); `out`, an ordinary directory; `w`, which is whited out.
  std::string (*change)(const std::string& at, mode_t mode);
};

const OwnerVerb kVerbs[] = {
    {"nothing", [](const std::string&, mode_t) { return std::string{"ok"}; }},
    {"append", [](const std::string& at, mode_t) { return call::append(at + "/d/f", "+"); }},
    {"append-deep", [](const std::string& at, mode_t) { return call::append(at + "/d/s/g", "+"); }},
    {"truncate", [](const std::string& at, mode_t) { return call::truncate(at + "/d/f", 0); }},
    {"chmod-file", [](const std::string& at, mode_t) { return call::chmod(at + "/d/f", 0600); }},
    {"chmod-deep", [](const std::string& at, mode_t) { return call::chmod(at + "/d/s", 0750); }},
    {"chmod", [](const std::string& at, mode_t) { return call::chmod(at + "/d", 0750); }},
    {"close-it", [](const std::string& at, mode_t) { return call::chmod(at + "/out", 0); }},
    {"utimes-file",
     [](const std::string& at, mode_t) {
       return call::utimens(at + "/d/f", {5, 0}, {6, 0});
     }},
    {"utimes",
     [](const std::string& at, mode_t) {
       return call::utimens(at + "/d", {5, 0}, {6, 0});
     }},
    {"xattr-file",
     [](const std::string& at, mode_t) { return call::setxattr(at + "/d/f", "user.k", "v"); }},
    {"xattr",
     [](const std::string& at, mode_t) { return call::setxattr(at + "/d", "user.k", "v"); }},
    {"acl",
     [](const std::string& at, mode_t) {
       return call::setxattr(at + "/d", kDefaultAcl, acl_for_user(7, 5, 6, 5, 7, 0));
     }},
    {"acl-file",
     [](const std::string& at, mode_t) {
       return call::setxattr(at + "/d/f", kAccessAcl, acl_for_user(7, 5, 6, 5, 7, 0));
     }},
    {"create", [](const std::string& at, mode_t) { return call::create(at + "/d/new", "n"); }},
    {"create-deep", [](const std::string& at, mode_t) { return call::create(at + "/d/s/new"); }},
    {"mkdir", [](const std::string& at, mode_t mode) { return call::mkdir(at + "/new", mode); }},
    {"mkdir-below",
     [](const std::string& at, mode_t mode) { return call::mkdir(at + "/d/new", mode); }},
    {"mkdir-over", [](const std::string& at, mode_t mode) { return call::mkdir(at + "/w", mode); }},
    {"create-over",
     [](const std::string& at, mode_t mode) { return call::create(at + "/w", "n", mode); }},
    {"symlink", [](const std::string& at, mode_t) { return call::symlink("x", at + "/d/l"); }},
    {"link", [](const std::string& at, mode_t) { return call::link(at + "/d/f", at + "/out/f"); }},
    {"unlink", [](const std::string& at, mode_t) { return call::unlink(at + "/d/f"); }},
    {"rmdir", [](const std::string& at, mode_t) { return call::rmdir(at + "/d/e"); }},
    {"rename-file",
     [](const std::string& at, mode_t) { return call::rename(at + "/d/f", at + "/d/h"); }},
    {"rename-out",
     [](const std::string& at, mode_t) { return call::rename(at + "/d/f", at + "/out/f"); }},
    {"rename", [](const std::string& at, mode_t) { return call::rename(at + "/d", at + "/n"); }},
    {"rename-deep",
     [](const std::string& at, mode_t) { return call::rename(at + "/d/s", at + "/d/n"); }},
    {"rename-away",
     [](const std::string& at, mode_t) { return call::rename(at + "/d", at + "/out/n"); }},
    {"rename-above", [](const std::string& at, mode_t) { return call::rename(at, at + "-moved"); }},
    {"rename-over-whiteout",
     [](const std::string& at, mode_t) { return call::rename(at + "/d", at + "/w"); }},
    {"rename-over-empty",
     [](const std::string& at, mode_t) { return call::rename(at + "/d/s", at + "/d/e"); }},
    {"exchange", [](const std::string& at,
                    mode_t) { return call::rename(at + "/d/s", at + "/d/f", RENAME_EXCHANGE); }},
    {"exchange-outer",
     [](const std::string& at, mode_t) {
       return call::rename(at + "/d", at + "/out", RENAME_EXCHANGE);
     }},
    {"write-after-close",
     [](const std::string& at, mode_t) {
       File file{at + "/d/f", O_RDWR};
       const std::string closed = call::chmod(at + "/d", 0);
       return joined({file.opened(), closed, file.pwrite("W", 0), file.close()});
     }},
};

std::string octal(mode_t mode) {
  char text[8];
  (void)std::snprintf(text, sizeof text, "%04o", mode);
  return text;
}

std::string case_of(mode_t mode, const OwnerVerb& verb) { return octal(mode) + "/" + verb.name; }

template <typename Visit>
void each_case(Visit visit) {
  for (const mode_t mode : kModes) {
    for (const OwnerVerb& verb : kVerbs) {
      visit(mode, verb, case_of(mode, verb));
    }
  }
}

Items lower_items() {
  Items items;
  each_case([&](mode_t mode, const OwnerVerb& /*verb*/, const std::string& at) {
    items.push_back(dir(at + "/d").with_mode(mode));
    items.push_back(file(at + "/d/f", "f"));
    items.push_back(dir(at + "/d/s").with_mode(mode));
    items.push_back(file(at + "/d/s/g", "g"));
    items.push_back(dir(at + "/d/e").with_mode(mode));
    items.push_back(dir(at + "/out"));
    items.push_back(file(at + "/w", "w"));
  });
  return items;
}

Items upper_items() {
  Items items;
  each_case([&](mode_t /*mode*/, const OwnerVerb& /*verb*/, const std::string& at) {
    items.push_back(whiteout(at + "/w"));
  });
  return items;
}

/// Type, mode, xattrs and content of everything that the owner may see. `open_up` opens what is
/// closed.
void survey(const std::string& root, const std::string& path, bool open_up, Picture& lines) {
  const std::string full = root + "/" + path;
  struct stat info = {};
  if (::lstat(full.c_str(), &info) != 0) {
    lines.push_back(path + " " + outcome(-1));
    return;
  }
  char mode[16];
  (void)std::snprintf(mode, sizeof mode, " %06o", info.st_mode);
  const bool directory = S_ISDIR(info.st_mode);
  if (open_up && !S_ISLNK(info.st_mode)) {
    CHECK(call::chmod(full, (info.st_mode & 07777U) | (directory ? 0700U : 0600U)) == "ok");
  }
  std::string line = path + mode;
  for (const std::string& name : xattr_names(full)) {
    line += " " + name + "=" + (name.starts_with("user.") ? xattr(full, name) : "");
  }
  lines.push_back(line + (S_ISREG(info.st_mode) ? " " + content(full) : ""));
  if (directory) {
    for (const std::string& name : sorted_names_in(full)) {
      survey(root, path + "/" + name, open_up, lines);
    }
  }
}

/// A lower directory that its owner may not list or search stays so for the daemon, whatever mode
/// the merged one gets (N-26).
bool daemon_may_look(mode_t mode) { return (mode & 0500U) == 0500U; }

Picture surveyed(const Stack& stack, bool open_up) {
  Picture lines;
  for (const mode_t mode : kModes) {
    if (daemon_may_look(mode)) {
      survey(stack(), octal(mode), open_up, lines);
    }
  }
  return lines;
}

std::string differences(const Picture& wanted, const Picture& found) {
  std::string text;
  for (const auto& line : wanted) {
    text += std::find(found.begin(), found.end(), line) == found.end() ? "- " + line + "\n" : "";
  }
  for (const auto& line : found) {
    text += std::find(wanted.begin(), wanted.end(), line) == wanted.end() ? "+ " + line + "\n" : "";
  }
  return text;
}

TEST_CASE("directories that shut their owner out can be changed as on a plain directory",
          "[permission][owner-mode]") {
  on(every_plyfs(), [](const System& system) {
    if (!system.redirect) {
      return;  // EXDEV where the plain directory renames
    }
    Stack plain = Stack{}.lower(lower_items()).upper(upper_items());
    plain.mount(posix_systems().front());
    Stack stack = Stack{}.lower(lower_items()).upper(upper_items());
    stack.mount(system);
    each_case([&](mode_t mode, const OwnerVerb& verb, const std::string& at) {
      CAPTURE(at);
      const std::string result = verb.change(stack(at), mode);
      const bool empties =
          verb.name == std::string{"rmdir"} || verb.name == std::string{"rename-over-empty"};
      const std::string wanted = verb.change(plain(at), mode);
      // Whether a directory is empty cannot be asked where it may not be listed.
      CHECK((result == wanted || (result == "EACCES" && empties && !daemon_may_look(mode))));
    });
    CHECK(differences(surveyed(plain, false), surveyed(stack, false)) == "");
    stack.remount();
    CHECK(differences(surveyed(plain, false), surveyed(stack, false)) == "");
    CHECK(differences(surveyed(plain, true), surveyed(stack, true)) == "");
    CHECK(stack.left_overs() == Picture{});
  });
}

TEST_CASE("a daemon that dies while a mode is lifted leaves it to the next mount",
          "[permission][owner-mode][crash]") {
  const auto append = [](const Stack& stack) {
    File file{stack("a/b/f"), O_WRONLY | O_APPEND};
    return joined({file.opened(), file.write("+"), outcome(::fsync(file.fd()))});
  };
  constexpr mode_t kClosed = 0555;
  constexpr int kMostChanges = 100;
  on(plyfs_only(), [&](const System& system) {
    int number = 1;
    for (std::string result; result != "ok ok ok"; ++number) {
      REQUIRE(number < kMostChanges);
      CAPTURE(number);
      Stack stack = Stack{}
                        .lower({dir("a").with_mode(kClosed), dir("a/b").with_mode(kClosed),
                                file("a/b/f", "f")})
                        .upper({dir("a").with_mode(kClosed)});
      stack.set_environment({{"PLYFS_FAIL_AT", std::to_string(number) + ":kill"}});
      try {
        stack.mount(system);
      } catch (const std::runtime_error&) {
        continue;  // killed while mounting
      }
      result = append(stack);
      stack.crash();
      stack.set_environment({});
      stack.mount(system);
      CHECK((content(stack("a/b/f")) == "f+" || result != "ok ok ok"));
      CHECK(permissions(stack("a")) == kClosed);
      CHECK(permissions(stack("a/b")) == kClosed);
      CHECK(permissions(stack.upper_path("a")) == kClosed);
      CHECK(stack.left_overs() == Picture{});
    }
  });
}

TEST_CASE("a write that was cached and cannot be kept is told with its path",
          "[permission][owner-mode]") {
  constexpr std::size_t kPage = 4096;
  on(plyfs_only(), [](const System& system) {
    if (is_root()) {
      return skip("needs an ordinary user: root reads what its owner may not");
    }
    Stack stack =
        Stack{}.lower({file("d/writable", std::string(kPage, 'w')).with_mode(0200)}).upper();
    stack.mount(system);
    File file{stack("d/writable"), O_WRONLY};
    // A whole page, which the kernel caches without asking for what was there.
    CHECK(joined({file.opened(), file.pwrite(pattern(kPage), 0), file.close()}) == "ok ok EIO");
    const Ran inspected = run({plyfs_program(), "inspect", stack.mountpoint()});
    CHECK(inspected.out.find("write /d/writable: Permission denied") != std::string::npos);
  });
}

}  // namespace
}  // namespace plyfs::tests
