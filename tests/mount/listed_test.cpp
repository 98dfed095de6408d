// What a listing has seen is not asked again. It must show the same as asking would.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>

#include "stack.h"

namespace plyfs::tests {
namespace {

/// Reads a directory to its end, with attributes where the kernel asks for them.
void list(const std::string& path) { (void)picture(path); }

TEST_CASE("a directory that is opaque by a file hides what is below it, whoever asks first",
          "[lookup][listing]") {
  struct Way {
    const char* name;
    std::function<void(const Stack&)> first;
  };
  const std::vector<Way> ways = {
      {"its listing", [](const Stack& stack) { list(stack("d")); }},
      {"a listing of all", [](const Stack& stack) { list(stack()); }},
      {"a hidden name", [](const Stack& stack) { CHECK(call::stat(stack("d/c")) == "ENOENT"); }},
      {"a name in it", [](const Stack& stack) { CHECK(call::stat(stack("d/b")) == "ok"); }},
      {"a name above", [](const Stack& stack) { CHECK(call::stat(stack("d/a")) == "ok"); }},
      {"many hidden names",
       [](const Stack& stack) {
         for (int i = 0; i < 100; ++i) {
           CHECK(call::stat(stack("d/c" + std::to_string(i))) == "ENOENT");
         }
       }},
      {"making a hidden name",
       [](const Stack& stack) {
         CHECK(call::mkdir(stack("d/c")) == "ok");
         CHECK(picture(stack("d/c")).empty());
         CHECK(call::rmdir(stack("d/c")) == "ok");
       }},
      {"a move",
       [](const Stack& stack) {
         CHECK(call::rename(stack("d"), stack("e")) == "ok");
         CHECK(picture(stack("e")) == Picture{"a=1", "b=2"});
         CHECK(call::rename(stack("e"), stack("d")) == "ok");
       }},
  };
  on(plyfs_only(), [&](const System& system) {
    for (const Way& way : ways) {
      INFO(way.name);
      Stack stack = Stack{}
                        .lower({file("d/a", "1")})
                        .lower({aufs_opaque("d"), file("d/b", "2")})
                        .lower({file("d/a", "3"), file("d/c/x", "3"), file("d/c0", "3")})
                        .upper();
      stack.mount(system);
      way.first(stack);
      CHECK(picture(stack("d")) == Picture{"a=1", "b=2"});
      CHECK(call::stat(stack("d/c")) == "ENOENT");
      CHECK(call::unlink(stack("d/a")) == "ok");
      CHECK(picture(stack("d")) == Picture{"b=2"});
      CHECK(call::unlink(stack("d/b")) == "ok");
      CHECK(call::rmdir(stack("d")) == "ok");
      CHECK(call::stat(stack("d")) == "ENOENT");
      stack.remount();
      CHECK(call::stat(stack("d")) == "ENOENT");
    }
  });
}

TEST_CASE("what an opaque file hides may be broken", "[lookup][listing]") {
  on(plyfs_only(), [](const System& system) {
    for (const bool by_listing : {true, false}) {
      INFO("by its listing: " << by_listing);
      Stack stack = Stack{}
                        .lower({aufs_opaque("d/x"), file("d/x/a", "1"), file("d/y/a", "1")})
                        .lower({dir("d/x").with_xattr(overlay_prefix() + "redirect", "../up"),
                                dir("d/y").with_xattr(overlay_prefix() + "redirect", "../up")})
                        .lower({file("d/x/b", "3")})
                        .upper();
      stack.mount(system);
      if (by_listing) {
        list(stack());
      }
      CHECK(call::stat(stack("d/x")) == "ok");
      CHECK(picture(stack("d/x")) == Picture{"a=1"});
      CHECK(call::stat(stack("d/x/b")) == "ENOENT");
      CHECK(call::stat(stack("d/y")) == "EINVAL");  // nothing hides what is wrong there
    }
  });
}

TEST_CASE("a merged directory is the same by its listing and by its name, in many layers",
          "[lookup][listing]") {
  on(plyfs_only(), [](const System& system) {
    // More layers than a listing can tell apart: `n` is in a few, and cut off in three ways.
    constexpr int kLayers = 45;
    std::vector<Items> layers;
    for (int i = 0; i < kLayers; ++i) {
      const std::string number = std::to_string(i);
      Items items = {file("d/f" + number, number)};
      if (i % 9 == 3 || i > 40) {
        items.push_back(file("d/n/x" + number, number));
        items.push_back(file("d/cut/x" + number, number));
        items.push_back(file("d/marked/x" + number, number));
        items.push_back(file("d/beside/x" + number, number));
      }
      if (i == 36) {
        items.push_back(whiteout("d/cut"));
        items.push_back(file("d/marked", "a file"));
        items.push_back(aufs_whiteout("d/beside"));
      }
      layers.push_back(std::move(items));
    }
    const auto names = [](int last) {
      Picture all;
      for (int i = 0; i <= last; ++i) {
        if (i % 9 == 3 || i > 40) {
          const std::string number = std::to_string(i);
          all.push_back("x" + number + "=" + number);
        }
      }
      std::sort(all.begin(), all.end());
      return all;
    };
    for (const bool by_listing : {true, false}) {
      INFO("by its listing: " << by_listing);
      Stack stack = Stack{}.lowers(layers).upper();
      stack.mount(system);
      if (by_listing) {
        list(stack());
      }
      CHECK(picture(stack("d/n")) == names(kLayers - 1));
      for (const char* const cut : {"d/cut", "d/marked", "d/beside"}) {
        CHECK(picture(stack(cut)) == names(36));
        CHECK(call::stat(stack(std::string{cut} + "/x44")) == "ENOENT");
      }
      CHECK(content(stack("d/n/x44")) == "44");
      CHECK(content(stack("d/f44")) == "44");
    }
  });
}

TEST_CASE("what the host mounts in a layer is not entered, known from a listing or not",
          "[lookup][listing][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: mount");
    }
    for (const bool before : {true, false}) {
      INFO("mounted before plyfs: " << before);
      Stack stack = Stack{}
                        .lower({file("d/s/x", "1")})
                        .lower({file("d/s/y", "2")})
                        .lower({file("d/s/z", "3")})
                        .upper();
      stack.build(system);
      const std::string place = stack.lower_path(1, "d/s");
      const auto mount_there = [&] {
        REQUIRE(outcome(::mount("plyfs-test", place.c_str(), "tmpfs", 0, nullptr)) == "ok");
        REQUIRE(call::create(place + "/foreign", "!") == "ok");
      };
      if (before) {
        mount_there();
      }
      stack.mount(system);
      if (!before) {
        mount_there();
      }
      list(stack("d"));
      list(stack("d/s"));
      CHECK(call::stat(stack("d/s/foreign")) == "ENOENT");
      CHECK(content(stack("d/s/x")) == "1");
      CHECK(content(stack("d/s/z")) == "3");  // root's plyfs sees what is beneath: y, too
      stack.unmount();
      CHECK(outcome(::umount2(place.c_str(), 0)) == "ok");
    }
  });
}

TEST_CASE("attributes that a listing told before are the present ones", "[listing]") {
  on(posix_systems(), [](const System& system) {
    Stack stack =
        Stack{}.lower({file("d/changed", "1234"), file("d/named", "1"), dir("d/sub")}).upper();
    stack.mount(system);
    list(stack("d"));
    list(stack("d"));
    int next = 0;
    const auto listed_again = [&] {
      REQUIRE(call::create(stack("d/new" + std::to_string(next++))) == "ok");
      list(stack("d"));
      return status(stack("d/changed"));
    };
    CHECK(call::chmod(stack("d/changed"), 0600) == "ok");
    CHECK((listed_again().st_mode & 07777) == 0600);
    CHECK(call::truncate(stack("d/changed"), 2) == "ok");
    CHECK(listed_again().st_size == 2);
    CHECK(call::append(stack("d/changed"), "567") == "ok");
    CHECK(listed_again().st_size == 5);
    CHECK(call::utimens(stack("d/changed"), {7, 0}, {8, 9}) == "ok");
    CHECK(listed_again().st_mtim.tv_sec == 8);
    CHECK(call::link(stack("d/changed"), stack("other")) == "ok");
    CHECK(listed_again().st_nlink == 2);
    CHECK(call::unlink(stack("other")) == "ok");
    CHECK(listed_again().st_nlink == 1);
    CHECK(call::rename(stack("d/named"), stack("d/changed")) == "ok");
    CHECK(listed_again().st_size == 1);
    CHECK(call::rename(stack("d/changed"), stack("d/sub/changed")) == "ok");
    list(stack("d"));
    CHECK(call::stat(stack("d/changed")) == "ENOENT");
    CHECK(status(stack("d/sub/changed")).st_size == 1);
  });
}

TEST_CASE("a directory is removed only if it is empty at that moment", "[remove][listing]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/a", "1"), file("d/b", "1")}).upper();
    stack.mount(system);
    CHECK(call::rmdir(stack("d")) == "ENOTEMPTY");
    CHECK(call::unlink(stack("d/a")) == "ok");
    CHECK(call::rmdir(stack("d")) == "ENOTEMPTY");
    CHECK(call::unlink(stack("d/b")) == "ok");
    CHECK(call::create(stack("d/b")) == "ok");
    CHECK(call::rmdir(stack("d")) == "ENOTEMPTY");
    CHECK(call::unlink(stack("d/b")) == "ok");
    CHECK(call::rmdir(stack("d")) == "ok");
    CHECK(call::mkdir(stack("d")) == "ok");
    CHECK(picture(stack("d")).empty());
  });
}

}  // namespace
}  // namespace plyfs::tests
