// A volume is changed by the host, by this mount and by other mounts: each sees at once what any of
// them did, however it looks.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "attributes.h"
#include "duration.h"
#include "volumes.h"

namespace plyfs::tests {
namespace {

std::string mapped(const File& file) {
  const auto size = static_cast<std::size_t>(file.stat().st_size);
  if (size == 0) {
    return "";
  }
  void* const pages = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.fd(), 0);
  if (pages == MAP_FAILED) {
    return "<" + outcome(-1) + ">";
  }
  std::string text(static_cast<const char*>(pages), size);
  (void)::munmap(pages, size);
  return text;
}

/// Somebody who looks at the volume: by path, through what was opened long ago, by a directory's
/// descriptor. What is looked at is put into words, to be compared.
class Onlooker {
 public:
  explicit Onlooker(std::string root)
      : root_(std::move(root)),
        file_(root_ + "/f", O_RDWR),
        other_(root_ + "/d/x", O_RDONLY),
        directory_(root_ + "/d", O_RDONLY | O_DIRECTORY) {}

  [[nodiscard]] const std::string& root() const { return root_; }

  /// Looks often enough for everything to be cached that may be cached.
  void warm_up() {
    (void)see();
    (void)see();
  }

  std::string see() {
    std::string text;
    const auto say = [&](const std::string& what, const std::string& answer) {
      text += what + "=" + answer + "\n";
    };
    // The descriptors first: nothing by path may have refreshed what they show.
    say("open f size", std::to_string(file_.stat().st_size));
    say("open f", file_.read_all());
    say("open f mapped", mapped(file_));
    say("open f links", std::to_string(file_.stat().st_nlink));
    say("open x", other_.read_all());
    say("open x mode", std::to_string(other_.stat().st_mode & 07777));
    struct stat at {};
    say("x by directory",
        outcome(::fstatat(directory_.fd(), "x", &at, 0)) + " " + std::to_string(at.st_size));
    say("new by directory", outcome(::faccessat(directory_.fd(), "new", F_OK, 0)));
    say("names by directory", names(directory_));
    for (const char* name : {"f", "d/x", "d/new", "g"}) {
      say(name, content(root_ + "/" + name));
      say(std::string{name} + " stat", described(name));
    }
    say("l", link_target(root_ + "/l"));
    say("xattr", xattr(root_ + "/f", "user.k"));
    say("names", joined(sorted_names_in(root_ + "/d")) + " | " + joined(sorted_names_in(root_)));
    say("d", described("d"));
    return text;
  }

 private:
  static std::string names(const File& directory) {
    return joined(sorted_names_in("/proc/self/fd/" + std::to_string(directory.fd())));
  }
  [[nodiscard]] std::string described(const std::string& name) const {
    struct stat found {};
    if (::lstat((root_ + "/" + name).c_str(), &found) != 0) {
      return outcome(-1);
    }
    return std::to_string(found.st_mode) + " " + std::to_string(found.st_size) + " " +
           std::to_string(found.st_nlink) + " " + std::to_string(nanoseconds(found.st_mtim));
  }

  std::string root_;
  File file_;
  File other_;
  File directory_;
};

struct Change {
  const char* name;
  std::function<std::string(const std::string& root)> make;
};

std::vector<Change> changes() {
  using Root = const std::string&;
  const auto rewrite = [](const std::string& path, std::string_view text) {
    return File(path, O_WRONLY).pwrite(text, 0);
  };
  return {
      {"append", [](Root root) { return call::append(root + "/f", "more\n"); }},
      {"overwrite in place", [=](Root root) { return rewrite(root + "/f", "ABCD"); }},
      {"overwrite again", [=](Root root) { return rewrite(root + "/f", "WXYZ"); }},
      {"truncate", [](Root root) { return call::truncate(root + "/f", 3); }},
      {"extend", [](Root root) { return call::truncate(root + "/f", 5000); }},
      {"rewrite", [](Root root) { return call::overwrite(root + "/f", "new content"); }},
      {"new name", [](Root root) { return call::create(root + "/d/new", "n"); }},
      {"new name's content", [](Root root) { return call::append(root + "/d/new", "2"); }},
      {"chmod", [](Root root) { return call::chmod(root + "/d/x", 0640); }},
      {"times",
       [](Root root) {
         return call::utimens(root + "/f", {5, 5}, {6, 7});
       }},
      {"xattr", [](Root root) { return call::setxattr(root + "/f", "user.k", "v"); }},
      {"hard link", [](Root root) { return call::link(root + "/f", root + "/g"); }},
      {"removed name", [](Root root) { return call::unlink(root + "/d/new"); }},
      {"name made again", [](Root root) { return call::create(root + "/d/new", "again"); }},
      {"link turned",
       [](Root root) {
         return joined({call::unlink(root + "/l"), call::symlink("elsewhere", root + "/l")});
       }},
      {"replaced",
       [](Root root) {
         return joined(
             {call::create(root + "/t", "replaced"), call::rename(root + "/t", root + "/f")});
       }},
      {"replaced in the directory",
       [](Root root) {
         return joined({call::create(root + "/t", "r"), call::rename(root + "/t", root + "/d/x")});
       }},
      {"type changed",
       [](Root root) {
         return joined({call::unlink(root + "/g"), call::mkdir(root + "/g")});
       }},
      {"moved away", [](Root root) { return call::rename(root + "/f", root + "/d/f"); }},
      {"moved back", [](Root root) { return call::rename(root + "/d/f", root + "/f"); }},
      {"exchanged", [](Root root) { return call::rename(root + "/f", root + "/d/x", 2); }},
      {"directory moved", [](Root root) { return call::rename(root + "/d", root + "/e"); }},
      {"directory moved back", [](Root root) { return call::rename(root + "/e", root + "/d"); }},
  };
}

std::string different(const std::string& expected, const std::string& seen) {
  if (expected == seen) {
    return "";
  }
  std::string lines;
  std::size_t a = 0;
  std::size_t b = 0;
  while (a < expected.size() || b < seen.size()) {
    const std::string left = expected.substr(a, expected.find('\n', a) - a);
    const std::string right = seen.substr(b, seen.find('\n', b) - b);
    if (left != right) {
      lines += "  host: " + left + "\n  seen: " + right + "\n";
    }
    a += left.size() + 1;
    b += right.size() + 1;
  }
  return lines;
}

/// Every change, made by `changer`, must at once look to all as it looks on the host.
void change_all(const std::vector<Onlooker*>& onlookers, const Onlooker& changer,
                const std::string& who) {
  for (Onlooker* const onlooker : onlookers) {
    onlooker->warm_up();
  }
  for (const Change& change : changes()) {
    const std::string outcome = change.make(changer.root());
    INFO(who << ": " << change.name);
    CHECK(outcome.find('E') == std::string::npos);
    // The host looks last: looking gives timestamps their full resolution, which must not help.
    std::vector<std::string> seen;
    for (std::size_t i = onlookers.size(); i-- > 1;) {
      seen.push_back(onlookers[i]->see());
    }
    const std::string expected = onlookers[0]->see();
    for (const std::string& view : seen) {
      CHECK(different(expected, view) == "");
    }
  }
}

TEST_CASE("everybody sees at once what anybody changes in a volume", "[volume][coherence]") {
  on(volume_modes(), [](const System& system) {
    for (const std::size_t changer : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
      const HostDirectory host({file("f", "first\n"), file("d/x", "xx"), symlink("l", "f")});
      Stack a = Stack{}.lower({dir("v")}).upper();
      Stack b = Stack{}.lower({file("other")}).upper();
      a.mount(system, volume(host(), "/v"));
      b.mount(system, volume(host(), "/some/where"));
      {
        Onlooker on_host(host());
        Onlooker in_a(a("v"));
        Onlooker in_b(b("some/where"));
        const std::vector<Onlooker*> all = {&on_host, &in_a, &in_b};
        change_all(all, *all[changer],
                   changer == 0 ? "the host" : "mount " + std::to_string(changer));
      }
    }
  });
}

TEST_CASE("a file volume follows its inode, also when the host replaces its name",
          "[volume][coherence]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("f", "1")});
    Stack stack = Stack{}.lower({file("etc/conf", "image")}).upper();
    stack.mount(system, volume(host("f"), "/etc/conf"));
    CHECK(content(stack("etc/conf")) == "1");
    CHECK(call::append(host("f"), "2") == "ok");
    CHECK(content(stack("etc/conf")) == "12");
    CHECK(joined({call::create(host("t"), "new"), call::rename(host("t"), host("f"))}) == "ok ok");
    CHECK(content(stack("etc/conf")) == "12");  // as with docker
    CHECK(call::append(stack("etc/conf"), "3") == "ok");
    CHECK(joined({content(stack("etc/conf")), content(host("f"))}) == "123 new");
    CHECK(status(stack("etc/conf")).st_nlink == 0);
  });
}

/// Owns some names in directories that all share; changes them through one mount or the host, and
/// looks at once through another.
class Sharer {
 public:
  Sharer(std::vector<std::string> roots, unsigned number)
      : roots_(std::move(roots)), number_(number), random_(number + 1) {}

  /// Empty, or what went wrong first. Goes on where it ended when called again.
  std::string work() {
    constexpr int kSteps = 250;
    for (int step = 0; step < kSteps; ++step) {
      const std::string name = any_name();
      const std::string changed = change(name);
      const std::string& root = any_root();
      const std::string seen = content(root + "/" + name);
      const auto known = model_.find(name);
      const std::string expected = known == model_.end() ? "<ENOENT>" : known->second;
      if (!changed.empty() || seen != expected) {
        return "step " + std::to_string(step) + " " + name + ": " + changed + " seen in " + root +
               ": " + seen + " instead of " + expected;
      }
    }
    return {};
  }

  [[nodiscard]] const std::map<std::string, std::string>& model() const { return model_; }

 private:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  const std::string& any_root() { return roots_[below(static_cast<unsigned>(roots_.size()))]; }
  std::string any_name() {
    return "d" + std::to_string(below(2)) + "/" + std::to_string(number_) + "-" +
           std::to_string(below(4));
  }

  std::string change(const std::string& name) {
    const std::string path = any_root() + "/" + name;
    const auto known = model_.find(name);
    const bool is_there = known != model_.end();
    const std::string text(below(6000) + 1, static_cast<char>('a' + below(26)));
    std::string result;
    switch (below(6)) {
      case 0:
      case 1:
        result = call::create(path, text);
        model_.try_emplace(name, text);
        return result == (is_there ? "EEXIST" : "ok") ? "" : "create " + result;
      case 2:
        result = call::append(path, text);
        if (is_there) {
          model_[name] += text;
        }
        break;
      case 3:
        result = call::overwrite(path, text);
        if (is_there) {
          model_[name] = text;
        }
        break;
      case 4:
        result = call::unlink(path);
        model_.erase(name);
        break;
      default: {
        const std::string& root = any_root();
        const std::string to = any_name();
        result = call::rename(root + "/" + name, root + "/" + to);
        if (is_there && to != name) {
          model_[to] = known->second;
          model_.erase(name);
        }
        break;
      }
    }
    return result == (is_there ? "ok" : "ENOENT") ? "" : "change " + result;
  }

  std::vector<std::string> roots_;
  unsigned number_;
  std::mt19937 random_;
  std::map<std::string, std::string> model_;
};

TEST_CASE("two mounts and the host change one volume at once", "[volume][coherence][stress]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({dir("d0"), dir("d1")});
    Stack a = Stack{}.lower({dir("v")}).upper();
    Stack b = Stack{}.lower({dir("x")}).upper();
    a.mount(system, volume(host(), "/v") + ",threads=4");
    b.mount(system, volume(host(), "/w"));
    std::vector<Sharer> sharers;
    for (unsigned number = 0; number < 4; ++number) {
      sharers.emplace_back(std::vector<std::string>{host(), a("v"), b("w")}, number);
    }
    rounds([&](int) {
      std::vector<std::string> complaints(sharers.size());
      std::vector<std::thread> threads;
      for (std::size_t i = 0; i < sharers.size(); ++i) {
        threads.emplace_back([&, i] { complaints[i] = sharers[i].work(); });
      }
      for (std::thread& thread : threads) {
        thread.join();
      }
      for (const std::string& complaint : complaints) {
        CHECK(complaint == "");
      }
      for (const std::string& root : {host(), a("v"), b("w")}) {
        std::size_t names = 0;
        for (const Sharer& sharer : sharers) {
          for (const auto& [name, text] : sharer.model()) {
            INFO(root << "/" << name);
            CHECK((content(root + "/" + name) == text));
            ++names;
          }
        }
        CHECK(names_in(root + "/d0").size() + names_in(root + "/d1").size() == names);
      }
    });
  });
}

TEST_CASE("a mount that dies takes nothing from another one of the same volume",
          "[volume][coherence]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("f", "1")});
    Stack a = Stack{}.lower({dir("v")}).upper();
    Stack b = Stack{}.lower({dir("v")}).upper();
    a.mount(system, volume(host(), "/v"));
    b.mount(system, volume(host(), "/v"));
    CHECK(call::append(a("v/f"), "2") == "ok");
    File open(b("v/f"), O_RDWR | O_APPEND);
    a.crash();
    CHECK(open.write("3") == "ok");
    CHECK(call::create(b("v/n"), "n") == "ok");
    CHECK(picture(host()) == Picture{"f=123", "n=n"});
    a.mount(system, volume(host(), "/v"));
    CHECK(picture(a("v")) == Picture{"f=123", "n=n"});
  });
}

TEST_CASE("a source that vanishes gives errors, and the rest goes on", "[volume]") {
  on(served_volumes(), [](const System& system) {
    auto host = std::make_unique<HostDirectory>(Items{file("f", "1"), dir("d")});
    Stack stack = Stack{}.lower({file("g", "2")}).upper();
    stack.mount(system, volume((*host)(), "/v"));
    CHECK(content(stack("v/f")) == "1");
    host.reset();
    CHECK(joined({content(stack("v/f")), call::create(stack("v/n")), call::mkdir(stack("v/d/e")),
                  call::stat(stack("v"))}) == "<ENOENT> ENOENT ENOENT ok");
    CHECK(sorted_names_in(stack("v")).empty());
    CHECK(content(stack("g")) == "2");
  });
}

}  // namespace
}  // namespace plyfs::tests
