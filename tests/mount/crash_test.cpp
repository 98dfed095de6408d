// The daemon fails or dies at any change of the upper: the tree is as before or as after.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "attributes.h"
#include "stack.h"

namespace plyfs::tests {
namespace {

/// A change of the tree in one call, as seen through the mount.
struct Verb {
  const char* name;
  std::string (*change)(const Stack& stack);
};

std::string write_and_sync(const std::string& path, std::string_view data, int flags) {
  File handle(path, O_RDWR | flags);
  if (handle.fd() < 0) {
    return handle.opened();
  }
  const std::string written = handle.pwrite(data, 3);
  const std::string synced = outcome(::fsync(handle.fd()));
  return written == "ok" ? synced : written;
}

/// The layers of every verb: files in all rooms, merged and moved directories.
Stack layers() {
  return Stack{}
      .lower({file("low/f", pattern(300'000)).with_xattr("user.k", "v").with_mode(0640),
              hardlink("low/h", "low/f"), file("low/g", "g"), dir("low/empty"),
              symlink("low/l", "f"), file("m/top", "t"), fifo("low/p")})
      .lower({file("m/deep/x", "x"), file("m/low", "l"), file("gone/x", "1"), file("w", "w")})
      .upper({file("m/up", "u"), file("up/f", "upper"), dir("up/d"), whiteout("w")});
}

const Verb kVerbs[] = {
    {"write a lower file", [](const Stack& s) { return write_and_sync(s("low/f"), "W", 0); }},
    {"write an upper file", [](const Stack& s) { return write_and_sync(s("up/f"), "W", 0); }},
    {"chmod a lower file", [](const Stack& s) { return call::chmod(s("low/f"), 0600); }},
    {"chown a lower file",
     [](const Stack& s) { return call::chown(s("low/g"), ::getuid(), ::getgid()); }},
    {"utimens a lower file",
     [](const Stack& s) {
       return call::utimens(s("low/g"), {5, 6}, {7, 8});
     }},
    {"truncate a lower file", [](const Stack& s) { return call::truncate(s("low/f"), 5000); }},
    {"truncate a lower file to nothing",
     [](const Stack& s) { return call::truncate(s("low/f"), 0); }},
    {"setxattr of a lower file",
     [](const Stack& s) { return call::setxattr(s("low/f"), "user.new", "n"); }},
    {"removexattr of a lower file",
     [](const Stack& s) { return call::removexattr(s("low/f"), "user.k"); }},
    {"chmod a lower directory", [](const Stack& s) { return call::chmod(s("m/deep"), 0700); }},
    {"create", [](const Stack& s) { return call::create(s("low/new")); }},
    {"create over a whiteout", [](const Stack& s) { return call::create(s("w")); }},
    {"mkdir", [](const Stack& s) { return call::mkdir(s("m/deep/new")); }},
    {"mkdir over a whiteout", [](const Stack& s) { return call::mkdir(s("w")); }},
    {"symlink", [](const Stack& s) { return call::symlink("x", s("low/new")); }},
    {"symlink over a whiteout", [](const Stack& s) { return call::symlink("x", s("w")); }},
    {"mknod", [](const Stack& s) { return call::mknod(s("low/new"), S_IFIFO | 0600); }},
    {"link a lower file", [](const Stack& s) { return call::link(s("low/g"), s("up/link")); }},
    {"link over a whiteout", [](const Stack& s) { return call::link(s("up/f"), s("w")); }},
    {"unlink a lower file", [](const Stack& s) { return call::unlink(s("low/g")); }},
    {"unlink a lower hard link", [](const Stack& s) { return call::unlink(s("low/h")); }},
    {"unlink an upper file", [](const Stack& s) { return call::unlink(s("up/f")); }},
    {"rmdir a lower directory", [](const Stack& s) { return call::rmdir(s("low/empty")); }},
    {"rmdir an upper directory", [](const Stack& s) { return call::rmdir(s("up/d")); }},
    {"rename a lower file",
     [](const Stack& s) { return call::rename(s("low/g"), s("m/deep/moved")); }},
    {"rename a lower hard link",
     [](const Stack& s) { return call::rename(s("low/h"), s("m/moved")); }},
    {"rename an upper file over a lower one",
     [](const Stack& s) { return call::rename(s("up/f"), s("low/f")); }},
    {"rename over a whiteout", [](const Stack& s) { return call::rename(s("low/g"), s("w")); }},
    {"rename a lower directory",
     [](const Stack& s) { return call::rename(s("low"), s("up/moved")); }},
    {"rename a merged directory", [](const Stack& s) { return call::rename(s("m"), s("moved")); }},
    {"rename a directory over an empty one",
     [](const Stack& s) { return call::rename(s("m"), s("low/empty")); }},
    {"exchange a file and a directory",
     [](const Stack& s) { return call::rename(s("low/g"), s("m"), RENAME_EXCHANGE); }},
    {"exchange lower files",
     [](const Stack& s) { return call::rename(s("low/g"), s("low/f"), RENAME_EXCHANGE); }},
    {"fallocate a lower file",
     [](const Stack& s) {
       const File handle(s("low/g"), O_RDWR);
       return outcome(::fallocate(handle.fd(), 0, 0, 5000));
     }},
};

struct Trees {
  std::string outcome;
  Dump before;
  Dump after;
};

/// The tree before and after, by a run that nothing disturbs.
Trees undisturbed(const System& system, const Verb& verb) {
  Stack stack = layers();
  stack.mount(system);
  Trees trees;
  trees.before = dump_without_times(stack());
  trees.outcome = verb.change(stack);
  CHECK((trees.outcome == "ok" || (trees.outcome == "EXDEV" && !system.redirect)));
  stack.remount();
  trees.after = dump_without_times(stack());
  return trees;
}

/// Runs the verb with the n-th change of the upper disturbed, then looks at what is left after a
/// clean mount. Returns the verb's outcome.
std::string disturbed(const System& system, const Verb& verb, int number, const std::string& how,
                      const Trees& trees) {
  Stack stack = layers();
  stack.set_environment({{"PLYFS_FAIL_AT", std::to_string(number) + ":" + how}});
  stack.mount(system);
  const std::string result = verb.change(stack);
  if (how == "kill") {
    stack.crash();
  } else {
    stack.unmount();
  }
  stack.set_environment({});
  stack.mount(system);
  CAPTURE(verb.name, number, how, result);
  const Dump now = dump_without_times(stack());
  const std::string from_before = difference(trees.before, now);
  const std::string from_after = difference(trees.after, now);
  CAPTURE(from_before, from_after);
  const bool is_before = from_before.empty();
  const bool is_after = from_after.empty();
  // An error may still be told after the change is done, as by other filesystems.
  CHECK((is_after || (is_before && result != "ok")));
  CHECK(stack.left_overs() == Picture{});
  return result;
}

/// How many changes of the upper the mount itself makes.
int changes_of_mount(const System& system) {
  for (int number = 1;; ++number) {
    Stack stack = layers();
    stack.set_environment({{"PLYFS_FAIL_AT", std::to_string(number) + ":kill"}});
    try {
      stack.mount(system);
      (void)dump_without_times(stack());
      stack.unmount();
      return number - 1;
    } catch (const std::runtime_error&) {  // killed while mounting
      stack.set_environment({});
      stack.mount(system);
      CHECK(stack.left_overs() == Picture{});
    }
  }
}

void disturb_everywhere(const System& system, const std::string& how) {
  const int quiet_runs = how == "kill" ? 1 : 3;  // an error that may be ignored is not the end
  constexpr int kMostChanges = 100;
  const int first = changes_of_mount(system) + 1;
  for (const Verb& verb : kVerbs) {
    const Trees trees = undisturbed(system, verb);
    if (trees.outcome != "ok") {
      continue;
    }
    int quiet = 0;
    int number = first;
    while (quiet < quiet_runs && number < first + kMostChanges) {
      const std::string result = disturbed(system, verb, number, how, trees);
      quiet = result == "ok" ? quiet + 1 : 0;
      ++number;
    }
    CAPTURE(verb.name);
    CHECK(number < first + kMostChanges);
    CHECK(number > first + quiet_runs);  // something was disturbed
  }
}

/// The variants that change the upper in different steps. Those of an ordinary user are root's.
Systems crash_systems() {
  if (!is_root()) {
    return plyfs_only();
  }
  Systems systems = every_plyfs();
  std::erase_if(systems, [](const System& system) {
    return !system.redirect || system.options == "whiteout=xattr";
  });
  return systems;
}

TEST_CASE("an I/O error at any change of the upper leaves the old or the new tree",
          "[crash][slow]") {
  on(crash_systems(), [](const System& system) { disturb_everywhere(system, "5"); });
}

TEST_CASE("a kill at any change of the upper leaves the old or the new tree",
          "[crash][slow][kill]") {
  on(crash_systems(), [](const System& system) { disturb_everywhere(system, "kill"); });
}

/// A step of a long workload; the same on the plain directory.
std::string step(const std::string& root, int number) {
  const auto at = [&](const std::string& name) { return root + "/" + name; };
  const std::string digit = std::to_string(number % 5);
  switch (number % 11) {
    case 0:
      return call::mkdir(at("d" + digit));
    case 1:
      return call::symlink("low", at("s" + digit));
    case 2:
      return write_and_sync(at("low/f" + digit), "step " + std::to_string(number), 0);
    case 3:
      return call::rename(at("low/f" + digit), at("m/f" + digit));
    case 4:
      return call::chmod(at("m/low"), number % 2 == 0 ? 0600 : 0644);
    case 5:
      return call::link(at("m/f" + digit), at("low/f" + digit));
    case 6:
      return call::unlink(at("m/f" + digit));
    case 7:
      return call::rename(at("m"), at("n"));
    case 8:
      return call::rename(at("n"), at("m"));
    case 9:
      return call::unlink(at("s" + digit));
    default:
      return call::rmdir(at("d" + digit));
  }
}

Items workload_layer() {
  Items items = {file("m/low", "l"), dir("m")};
  for (int number = 0; number < 5; ++number) {
    items.push_back(file("low/f" + std::to_string(number), pattern(50'000)));
  }
  return items;
}

TEST_CASE("a kill -9 in the middle of a workload loses at most the call under way", "[crash]") {
  on(plyfs_only(), [](const System& system) {
    constexpr int kKills = 25;
    Stack stack = Stack{}.lower({file("m/top", "t")}).lower(workload_layer()).upper();
    Stack oracle = Stack{}.lower({file("m/top", "t")}).lower(workload_layer()).upper();
    stack.mount(system);
    oracle.mount({System::Kind::kPlain, "plain", {}, true, true, true});
    int number = 0;
    for (int kill = 0; kill < kKills; ++kill) {
      std::atomic<int> done = 0;
      std::atomic<bool> is_over = false;
      std::thread killer([&, target = 3 + kill * 7 % 23, pid = stack.daemon()] {
        while (done < target && !is_over) {
          std::this_thread::yield();
        }
        ::kill(pid, SIGKILL);
      });
      std::string result;
      for (;; ++number, ++done) {
        result = step(stack(), number);
        // ECANCELED: over io_uring, of a request that the daemon had not taken yet.
        if (result == "ENOTCONN" || result == "ECONNABORTED" || result == "EIO" ||
            result == "ECANCELED") {
          break;
        }
        CHECK(result == step(oracle(), number));
      }
      is_over = true;
      killer.join();
      (void)stack.await_death();
      stack.mount(system);
      const Picture now = picture(stack());
      const Picture before = picture(oracle());
      if (now != before) {
        (void)step(oracle(), number);
        ++number;
        CAPTURE(number, result);
        CHECK(now == picture(oracle()));
      }
      CHECK(stack.left_overs() == Picture{});
    }
  });
}

}  // namespace
}  // namespace plyfs::tests
