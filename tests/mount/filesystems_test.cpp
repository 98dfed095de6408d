// Layers on filesystems of many kinds, and on different ones.
#include "filesystems.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

struct Layout {
  std::string lower;
  std::string upper;
};

/// Each kind below a tmpfs, and above one.
std::vector<Layout> layouts() {
  std::vector<Layout> all;
  for (const char* kind :
       {"ext4", "xfs", "btrfs", "overlay", "plyfs", "bindfs", "fuse-overlayfs"}) {
    all.push_back({kind, "tmpfs"});
    if (kind != std::string("fuse-overlayfs")) {  // keeps marks of every family to itself
      all.push_back({"tmpfs", kind});
    }
  }
  all.push_back({"btrfs", "ext4"});
  return all;
}

/// plyfs once per layout, named after it.
std::map<std::string, std::pair<System, Layout>> systems_on_layouts() {
  std::map<std::string, std::pair<System, Layout>> all;
  for (const System& system : plyfs_only()) {
    for (const Layout& layout : layouts()) {
      System named = system;
      named.name += " on " + layout.lower + ", upper on " + layout.upper;
      all.emplace(named.name, std::pair{named, layout});
    }
  }
  return all;
}

Stack layers_on(const Layout& layout) {
  return Stack{}
      .lower({file("f", pattern(100'000)).with_xattr("user.k", "v"), file("a/x", "x"),
              file("d/in", "1"), file("gone", "g"), symlink("l", "f")})
      .lower({file("d/low", "2"), file("z", "z"), file("w", "w"), file("d/deep/er", "3")})
      .upper({dir("up")})
      .on_filesystems(layout.lower, layout.upper);
}

std::map<std::string, ino_t> inode_numbers(const Stack& stack,
                                           const std::vector<std::string>& names) {
  std::map<std::string, ino_t> numbers;
  for (const std::string& name : names) {
    const struct stat found = status(stack(name));
    CHECK(found.st_dev == status(stack()).st_dev);
    numbers[name] = found.st_ino;
  }
  return numbers;
}

void change_everything(const Stack& stack) {
  CHECK(call::append(stack("f"), "+") == "ok");
  CHECK(call::setxattr(stack("f"), "user.n", "1") == "ok");
  CHECK(call::chmod(stack("a/x"), 0600) == "ok");
  CHECK(call::unlink(stack("gone")) == "ok");
  CHECK(call::mkdir(stack("gone")) == "ok");
  CHECK(call::rename(stack("d"), stack("e")) == "ok");
  CHECK(call::create(stack("e/new"), "new") == "ok");
  CHECK(call::unlink(stack("e/in")) == "ok");
  CHECK(call::link(stack("z"), stack("up/z2")) == "ok");
  CHECK(call::truncate(stack("w"), 0) == "ok");
}

void check_changed(const Stack& stack) {
  CHECK(sorted_names_in(stack()) ==
        std::vector<std::string>{"a", "e", "f", "gone", "l", "up", "w", "z"});
  CHECK((content(stack("f")) == pattern(100'000) + "+"));
  CHECK(xattr(stack("f"), "user.k") == "v");
  CHECK(xattr(stack("f"), "user.n") == "1");
  CHECK(permissions(stack("a/x")) == 0600);
  CHECK(sorted_names_in(stack("gone")).empty());
  CHECK(picture(stack("e")) == Picture{"deep/", "deep/er=3", "low=2", "new=new"});
  CHECK(content(stack("up/z2")) == "z");
  CHECK(status(stack("z")).st_nlink == 2);
  CHECK(status(stack("z")).st_ino == status(stack("up/z2")).st_ino);
  CHECK(content(stack("w")).empty());
  CHECK(link_target(stack("l")) == "f");
}

TEST_CASE("layers on every kind of filesystem merge, change and come back", "[filesystems][root]") {
  const auto all = systems_on_layouts();
  Systems systems;
  for (const auto& [name, entry] : all) {
    systems.push_back(entry.first);
  }
  on(systems, [&](const System& system) {
    const Layout& layout = all.at(system.name).second;
    for (const std::string& kind : {layout.lower, layout.upper}) {
      if (const std::string lack = MountedFilesystem::missing(kind); !lack.empty()) {
        return skip(lack);
      }
    }
    Stack stack = layers_on(layout);
    stack.mount(system);
    const std::vector<std::string> kept = {"f", "a", "a/x", "l", "up", "w", "z"};
    const auto before = inode_numbers(stack, kept);
    std::vector<ino_t> distinct;
    for (const auto& [name, number] : before) {
      distinct.push_back(number);
    }
    std::sort(distinct.begin(), distinct.end());
    CHECK(std::adjacent_find(distinct.begin(), distinct.end()) == distinct.end());
    change_everything(stack);
    check_changed(stack);
    CHECK(inode_numbers(stack, kept) == before);
    stack.remount();
    check_changed(stack);
    CHECK(inode_numbers(stack, kept) == before);
    CHECK(stack.left_overs() == Picture{});
  });
}

TEST_CASE("an upper that takes marks and keeps them to itself is refused",
          "[filesystems][command][root]") {
  on(plyfs_only(), [](const System&) {
    if (const std::string lack = MountedFilesystem::missing("fuse-overlayfs"); !lack.empty()) {
      return skip(lack);
    }
    const std::string place = fresh_directory();
    make_tree(place, {dir("other"), file("low/f", "1"), dir("mnt")}, overlay_prefix());
    {
      const MountedFilesystem other("fuse-overlayfs", place + "/other", place + "/scratch");
      REQUIRE(call::mkdir(place + "/other/upper") == "ok");
      const Ran ran =
          run({plyfs_program(), "mount", "-o", "lowerdir=low,upperdir=other/upper", "mnt"}, place);
      CHECK(ran.exit_code == 32);
      CHECK(ran.out.empty());
      CHECK(ran.err ==
            "plyfs: upper directory's filesystem takes no whiteouts of any kind: other/upper: "
            "Operation not supported; use a directory on ext4, xfs, btrfs or tmpfs, not in another "
            "union\n");
      CHECK(sorted_names_in(place + "/mnt").empty());
    }
    remove_tree(place);
  });
}

}  // namespace
}  // namespace plyfs::tests
