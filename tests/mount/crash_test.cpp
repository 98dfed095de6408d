// The daemon fails or dies at any change of the upper: the tree is as before or as after.

#include <atomic>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "attributes.h"
#include "verbs.h"

namespace plyfs::tests {
namespace {

/// Runs the verb with the n-th change of the upper disturbed, then looks at what is left after a
/// clean mount. Returns the verb's outcome.
std::string disturbed(const System& system, const Verb& verb, int number, const std::string& how,
                      const Trees& trees) {
  Stack stack = layers_of_verbs();
  stack.set_environment({{"PLYFS_FAIL_AT", std::to_string(number) + ":" + how}});
  stack.mount(system);
  const std::string result = verb.change(stack);
  const Dump live = how == "kill" ? Dump{} : dump_without_times(stack());
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
  if (how == "kill") {
    CHECK((is_after || (is_before && result != "ok")));
  } else {
    // What the kernel was told is what it shows, and what the next mount shows. A cached write is
    // several requests, of which one may fail, and its data stays in the cache.
    const bool cached = result != "ok" && std::string_view{verb.name}.starts_with("write");
    CHECK((result == "ok" || cached ? is_after || cached : is_before));
    CHECK((cached || difference(live, now).empty()));
  }
  CHECK(stack.left_overs() == Picture{});
  return result;
}

/// How many changes of the upper the mount itself makes.
int changes_of_mount(const System& system) {
  for (int number = 1;; ++number) {
    Stack stack = layers_of_verbs();
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
  for (const Verb& verb : verbs()) {
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
