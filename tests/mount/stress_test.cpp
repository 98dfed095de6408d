// Many threads, mixed verbs, a small tree; and what the daemon holds afterwards.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "stack.h"

namespace plyfs::tests {
namespace {

constexpr int kThreads = 4;
constexpr int kSteps = 400;

/// Runs `body(thread)` on kThreads threads; returns what they complained about.
template <typename Body>
std::vector<std::string> in_threads(const Body& body) {
  std::vector<std::string> complaints(kThreads);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back(
        [&, thread] { complaints[static_cast<std::size_t>(thread)] = body(thread); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::erase(complaints, "");
  return complaints;
}

/// A thread that owns some names in shared directories, knows what they must hold, and checks
/// every answer. Others change other names of the same directories all the time.
class Owner {
 public:
  Owner(const Stack& stack, int thread)
      : stack_(stack), thread_(thread), random_(static_cast<unsigned>(thread) + 1) {
    for (int number = 0; number < 6; ++number) {  // half of them exist in the lower layers
      const std::string name = path(number % 2, number);
      if (number < 3) {
        model_[name] = initial(name);
      }
    }
  }

  static std::string path_of(int thread, int directory, int number) {
    return "shared" + std::to_string(directory) + "/t" + std::to_string(thread) + "-" +
           std::to_string(number);
  }
  static std::string initial(const std::string& name) { return "lower " + name; }

  /// Empty, or what went wrong first.
  std::string work() {
    for (int step = 0; step < kSteps; ++step) {
      const std::string wrong = one_step(step);
      if (!wrong.empty()) {
        return "thread " + std::to_string(thread_) + " step " + std::to_string(step) + ": " + wrong;
      }
    }
    return {};
  }

  [[nodiscard]] const std::map<std::string, std::string>& model() const { return model_; }

 private:
  [[nodiscard]] std::string path(int directory, int number) const {
    return path_of(thread_, directory, number);
  }
  int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }
  std::string any_path() { return path(below(2), below(6)); }

  std::string expect(const std::string& what, const std::string& result,
                     const std::string& wanted) const {
    return result == wanted ? std::string() : what + ": " + result + " instead of " + wanted;
  }

  std::string one_step(int step) {
    const std::string name = any_path();
    const auto known = model_.find(name);
    const bool is_there = known != model_.end();
    const std::string text =
        "step " + std::to_string(step) + " " + pattern(static_cast<std::size_t>(below(9000)) + 1);
    switch (below(9)) {
      case 0:
        return create(name, text, is_there);
      case 1:
        return overwrite(name, text, is_there);
      case 2:
        return append(name, is_there);
      case 3:
        return remove(name, is_there);
      case 4:
      case 5:
        return rename(name, any_path(), is_there);
      case 6:
        return expect("chmod " + name, call::chmod(stack_(name), 0640), is_there ? "ok" : "ENOENT");
      case 7:
        return look_around();
      default:
        return expect("content of " + name, content(stack_(name)),
                      is_there ? known->second : "<ENOENT>");
    }
  }

  std::string create(const std::string& name, const std::string& text, bool is_there) {
    const std::string result = call::create(stack_(name), text);
    if (!is_there) {
      model_[name] = text;
    }
    return expect("create " + name, result, is_there ? "EEXIST" : "ok");
  }

  std::string overwrite(const std::string& name, const std::string& text, bool is_there) {
    const std::string result = call::overwrite(stack_(name), text);
    if (is_there) {
      model_[name] = text;
    }
    return expect("overwrite " + name, result, is_there ? "ok" : "ENOENT");
  }

  std::string append(const std::string& name, bool is_there) {
    const std::string result = call::append(stack_(name), "+more");
    if (is_there) {
      model_[name] += "+more";
    }
    return expect("append " + name, result, is_there ? "ok" : "ENOENT");
  }

  std::string remove(const std::string& name, bool is_there) {
    const std::string result = call::unlink(stack_(name));
    model_.erase(name);
    return expect("unlink " + name, result, is_there ? "ok" : "ENOENT");
  }

  std::string rename(const std::string& from, const std::string& to, bool is_there) {
    const std::string result = call::rename(stack_(from), stack_(to));
    if (is_there && from != to) {
      model_[to] = model_[from];
      model_.erase(from);
    }
    return expect("rename " + from + " " + to, result, is_there ? "ok" : "ENOENT");
  }

  /// A listing shows each name of ours exactly if it is there, whatever the others do.
  std::string look_around() {
    const int directory = below(2);
    const std::string shown_directory = "shared" + std::to_string(directory);
    std::set<std::string> mine;
    const std::string prefix = "t" + std::to_string(thread_) + "-";
    for (const std::string& name : names_in(stack_(shown_directory))) {
      if (name.starts_with(prefix) && !mine.insert(shown_directory + "/" + name).second) {
        return name + " is listed twice";
      }
    }
    for (int number = 0; number < 6; ++number) {
      const std::string name = path(directory, number);
      if ((model_.count(name) != 0) != (mine.count(name) != 0)) {
        return "the listing is wrong about " + name;
      }
    }
    return {};
  }

  const Stack& stack_;
  int thread_;
  std::mt19937 random_;
  std::map<std::string, std::string> model_;
};

Items owned_files() {
  Items items = {dir("shared0"), dir("shared1")};
  for (int thread = 0; thread < kThreads; ++thread) {
    for (int number = 0; number < 3; ++number) {
      const std::string name = Owner::path_of(thread, number % 2, number);
      items.push_back(file(name, Owner::initial(name)));
    }
  }
  return items;
}

TEST_CASE("threads that share directories each see exactly what they did", "[stress][threads]") {
  on(every_union(), [](const System& system) {
    Stack stack =
        Stack{}.lower({file("shared0/top"), file("shared1/top")}).lower(owned_files()).upper();
    stack.mount(system);
    std::vector<Owner> owners;
    for (int thread = 0; thread < kThreads; ++thread) {
      owners.emplace_back(stack, thread);
    }
    CHECK(in_threads([&](int thread) { return owners[static_cast<std::size_t>(thread)].work(); }) ==
          std::vector<std::string>{});
    std::map<std::string, std::string> expected = {{"shared0/top", ""}, {"shared1/top", ""}};
    for (const Owner& owner : owners) {
      expected.insert(owner.model().begin(), owner.model().end());
    }
    const auto check = [&] {
      std::size_t seen = 0;
      for (const std::string directory : {"shared0", "shared1"}) {
        seen += names_in(stack(directory)).size();
      }
      CHECK(seen == expected.size());
      for (const auto& [name, text] : expected) {
        INFO(name);
        CHECK((content(stack(name)) == text));
      }
    };
    check();
    CHECK(stack.left_overs() == Picture{});
    stack.remount();
    check();
  });
}

TEST_CASE("a listing is right while others list and change the directory", "[stress][threads]") {
  on(plyfs_only(), [](const System& system) {
    constexpr int kStatic = 2'000;
    constexpr int kLists = 300;
    Items items;
    for (int number = 0; number < kStatic; ++number) {
      items.push_back(file("d/a-file-that-stays-" + std::to_string(number)));
    }
    Stack stack = Stack{}.lower(items).upper();
    stack.mount(system);
    CHECK(in_threads([&](int thread) -> std::string {
            const std::string prefix = "thread" + std::to_string(thread) + "-";
            std::mt19937 random(static_cast<unsigned>(thread) + 1);
            std::set<std::string> mine;
            for (int list = 0; list < kLists; ++list) {
              const std::string name = prefix + std::to_string(random() % 8);
              const bool is_there = mine.erase(name) != 0;
              if (!is_there) {
                mine.insert(name);
              }
              const std::string result =
                  is_there ? call::unlink(stack("d/" + name)) : call::create(stack("d/" + name));
              if (result != "ok") {
                return name + ": " + result;
              }
              const std::vector<std::string> names = names_in(stack("d"));
              std::set<std::string> seen;
              for (const std::string& listed : names) {
                if (listed.starts_with(prefix)) {
                  seen.insert(listed);
                }
              }
              if (seen != mine) {
                return "list " + std::to_string(list) + " is wrong: " + name +
                       (is_there ? " was removed" : " was made");
              }
            }
            return {};
          }) == std::vector<std::string>{});
  });
}

TEST_CASE("threads that fight over the same names leave a sane tree", "[stress][threads]") {
  on(every_union(), [](const System& system) {
    Items items;
    for (int number = 0; number < 8; ++number) {
      items.push_back(file("d/" + std::to_string(number), "lower"));
      items.push_back(file("d/s" + std::to_string(number) + "/x", "lower"));
    }
    Stack stack = Stack{}.lower({dir("d"), dir("e")}).lower(items).upper();
    stack.mount(system);
    const std::set<std::string> allowed = {"ok",      "ENOENT",    "EEXIST", "EISDIR",
                                           "ENOTDIR", "ENOTEMPTY", "EXDEV",  "EINVAL"};
    const std::vector<std::string> complaints = in_threads([&](int thread) -> std::string {
      std::mt19937 random(static_cast<unsigned>(thread) + 77);
      const auto any = [&] {
        const std::string number = std::to_string(random() % 8);
        return stack((random() % 2 != 0 ? "d/" : "e/") +
                     ((random() % 3 == 0) ? "s" + number : number));
      };
      for (int step = 0; step < kSteps; ++step) {
        const std::string name = any();
        std::string result;
        switch (random() % 7) {
          case 0:
            result = call::create(name, "made");
            break;
          case 1:
            result = call::unlink(name);
            break;
          case 2:
            result = call::mkdir(name);
            break;
          case 3:
            result = call::rmdir(name);
            break;
          case 4:
            result = call::append(name, "+");
            break;
          case 5:
            (void)full_dump(stack("d"));
            result = "ok";
            break;
          default:
            result = call::rename(name, any());
        }
        if (allowed.count(result) == 0) {
          return result + " at step " + std::to_string(step);
        }
      }
      return {};
    });
    CHECK(complaints == std::vector<std::string>{});
    const Dump after = full_dump(stack());
    for (const auto& [path, text] : after) {
      INFO(path);
      CHECK(text.find("ENO") == std::string::npos);  // listed, therefore there
    }
    CHECK(stack.left_overs() == Picture{});
    stack.remount();
    CHECK(difference(after, full_dump(stack())).empty());
  });
}

TEST_CASE("parallel first writes of many lower files all arrive", "[stress][threads]") {
  on(every_union(), [](const System& system) {
    constexpr int kFiles = 200;
    Items items;
    for (int number = 0; number < kFiles; ++number) {
      items.push_back(file("d" + std::to_string(number % 7) + "/f" + std::to_string(number),
                           pattern(20'000, static_cast<unsigned>(number))));
    }
    Stack stack = Stack{}.lower(items).upper();
    stack.mount(system);
    const auto complaints = in_threads([&](int thread) -> std::string {
      for (int number = 0; number < kFiles; ++number) {  // all threads touch all files
        File target(stack(items[static_cast<std::size_t>(number)].path), O_RDWR);
        const std::string result = target.pwrite(std::to_string(thread), 1000 * (thread + 1));
        if (result != "ok") {
          return result;
        }
      }
      return {};
    });
    CHECK(complaints == std::vector<std::string>{});
    const auto check = [&] {
      for (int number = 0; number < kFiles; ++number) {
        std::string expected = pattern(20'000, static_cast<unsigned>(number));
        for (int thread = 0; thread < kThreads; ++thread) {
          expected.replace(static_cast<std::size_t>(1000 * (thread + 1)), 1,
                           std::to_string(thread));
        }
        CHECK((content(stack(items[static_cast<std::size_t>(number)].path)) == expected));
      }
    };
    check();
    stack.remount();
    check();
  });
}

TEST_CASE("directories moved while others work in them lose nothing", "[stress][threads]") {
  Systems systems = every_union();
  std::erase_if(systems, [](const System& system) { return !system.redirect; });
  on(systems, [](const System& system) {
    Stack stack =
        Stack{}.lower({file("a/b/low", "1")}).lower({file("a/b/deep/x", "2"), dir("c")}).upper();
    stack.mount(system);
    std::atomic<int> made = 0;
    std::atomic<bool> stop = false;
    File inside(stack("a/b"), O_RDONLY | O_DIRECTORY);  // before it moves
    REQUIRE(inside.fd() >= 0);
    std::thread mover([&] {
      for (int round = 0; round < 150; ++round) {
        (void)call::rename(stack("a/b"), stack("c/b"));
        (void)call::rename(stack("c/b"), stack("a/b"));
      }
      stop = true;
    });
    std::string wrong;
    while (!stop && wrong.empty() && made < 3000) {
      const std::string name = "n" + std::to_string(made);
      const int fd =
          ::openat(inside.fd(), name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
      wrong = fd < 0 ? outcome(fd) : "";
      if (fd >= 0) {
        File handle(fd);
        wrong = handle.write(name) == "ok" ? "" : "write failed";
        ++made;
      }
    }
    mover.join();
    CHECK(wrong == "");
    REQUIRE(inside.close() == "ok");
    stack.remount();
    CHECK(names_in(stack("a/b")).size() == static_cast<std::size_t>(made) + 2);
    CHECK(content(stack("a/b/low")) == "1");
    CHECK(content(stack("a/b/deep/x")) == "2");
    CHECK(content(stack("a/b/n0")) == (made > 0 ? "n0" : "<ENOENT>"));
  });
}

/// Asks again until `settled` or for a while; forgets reach the daemon in its own time.
template <typename Condition>
bool becomes(const Stack& stack, const Condition& settled) {
  for (int attempt = 0; attempt < 20'000; ++attempt) {
    if (settled()) {
      return true;
    }
    (void)call::access(stack("no such name " + std::to_string(attempt)), R_OK);  // a round trip
  }
  return false;
}

std::size_t open_files(pid_t pid) {
  return names_in("/proc/" + std::to_string(pid) + "/fd").size();
}

std::size_t resident_bytes(pid_t pid) {
  const std::string figures = content("/proc/" + std::to_string(pid) + "/statm");
  return std::stoul(figures.substr(figures.find(' ') + 1)) * 4096;
}

TEST_CASE("the daemon closes what it opened", "[stress]") {
  on(plyfs_only(), [](const System& system) {
    Items items;
    for (int number = 0; number < 3000; ++number) {
      items.push_back(file("d" + std::to_string(number % 50) + "/f" + std::to_string(number), "1"));
    }
    Stack stack = Stack{}.lower(items).upper();
    stack.mount(system);
    const std::size_t before = open_files(stack.daemon());
    for (int round = 0; round < 2; ++round) {
      for (const Item& item : items) {
        CHECK(call::append(stack(item.path), "+") == "ok");
      }
      (void)full_dump(stack());
    }
    CHECK(open_files(stack.daemon()) < 10'000);
    for (const Item& item : items) {
      CHECK(call::unlink(stack(item.path)) == "ok");
    }
    for (int number = 0; number < 50; ++number) {
      CHECK(call::rmdir(stack("d" + std::to_string(number))) == "ok");
    }
    if (is_root()) {
      drop_caches();
    }
    const std::size_t slack = 16;
    CHECK(becomes(stack, [&] { return open_files(stack.daemon()) <= before + slack; }));
    INFO(before << " open files before, " << open_files(stack.daemon()) << " after");
    CHECK(open_files(stack.daemon()) <= before + slack);
  });
}

TEST_CASE("memory returns when the kernel forgets", "[stress][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: dropping caches");
    }
    if (std::getenv("ASAN_OPTIONS") != nullptr || std::getenv("TSAN_OPTIONS") != nullptr) {
      return skip("needs a plain build: a sanitizer keeps freed memory");
    }
    Items items;
    for (int number = 0; number < 30'000; ++number) {
      items.push_back(file("d" + std::to_string(number % 100) + "/f" + std::to_string(number)));
    }
    Stack stack = Stack{}.lower(std::move(items)).upper();
    stack.mount(system);
    (void)names_in(stack());
    const std::size_t before = resident_bytes(stack.daemon());
    CHECK(full_dump(stack()).size() == 30'101);
    const std::size_t full = resident_bytes(stack.daemon());
    drop_caches();
    constexpr std::size_t kSlack = std::size_t{10} << 20U;
    (void)becomes(stack, [&] { return resident_bytes(stack.daemon()) <= before + kSlack; });
    INFO(before << " bytes before, " << full << " with 30,100 inodes, "
                << resident_bytes(stack.daemon()) << " after");
    CHECK(resident_bytes(stack.daemon()) <= before + kSlack);
  });
}

}  // namespace
}  // namespace plyfs::tests
