// Workers go to the processor of their one caller.
#include <sched.h>
#include <sys/stat.h>

#include <filesystem>
#include <set>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

std::set<int> processors_of(pid_t thread) {
  cpu_set_t set;
  std::set<int> processors;
  if (::sched_getaffinity(thread, sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) {
        processors.insert(i);
      }
    }
  }
  return processors;
}

std::set<std::set<int>> processors_of_threads(pid_t process) {
  std::set<std::set<int>> found;
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator{tasks}) {
    found.insert(processors_of(std::stoi(task.path().filename().string())));
  }
  return found;
}

/// Many questions that only the daemon can answer, from a thread that may use `processors`.
std::string ask_from(const std::set<int>& processors, const std::string& directory,
                     int questions = 100) {
  return in_child([&] {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int processor : processors) {
      CPU_SET(processor, &set);
    }
    if (::sched_setaffinity(0, sizeof set, &set) != 0) {
      return outcome(-1);
    }
    struct stat info;
    for (int i = 0; i < questions; ++i) {
      const std::string name = "/absent" + std::to_string(i) + "." + std::to_string(::getpid());
      if (::stat((directory + name).c_str(), &info) == 0) {
        return std::string{"found"};
      }
    }
    return std::string{"ok"};
  });
}

TEST_CASE("a worker goes to the processor to which its one caller is bound, and back", "[follow]") {
  const std::set<int> all = processors_of(0);
  if (all.size() < 2) {
    skip("needs two processors");
    return;
  }
  on(plyfs_only(), [&](const System& system) {
    for (const bool follow : {true, false}) {
      Stack stack = Stack{}.lower({file("f", "1")}).upper();
      stack.mount(system, follow ? "uring=off,threads=1" : "uring=off,threads=1,follow=off");
      for (const int processor : {*all.begin(), *all.rbegin()}) {
        INFO("processor " << processor << " follow " << follow);
        REQUIRE(ask_from({processor}, stack()) == "ok");
        CHECK(processors_of_threads(stack.daemon()).contains({processor}) == follow);
      }
      // A caller that may move is followed, too; where several ask in turn nobody is.
      REQUIRE(ask_from(all, stack()) == "ok");
      REQUIRE(ask_from(all, stack(), 1) == "ok");
      CHECK(processors_of_threads(stack.daemon()) == std::set<std::set<int>>{all});
    }
  });
}

}  // namespace
}  // namespace plyfs::tests
