// rename(2): a matrix against the plain directory, and what a redirect must survive.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <map>
#include <set>

#include "stack.h"

namespace plyfs::tests {
namespace {

/// Where an object of a case lies.
enum class Room { kLower, kUpper, kMerged };

const char* name_of(Room room) {
  return room == Room::kLower ? "lower" : room == Room::kUpper ? "upper" : "merged";
}

/// One call of rename in a directory of its own.
struct Case {
  std::string directory;
  std::string what;
  std::string from;
  std::string to;
  unsigned flags = 0;
  bool moves_lower_directory = false;  ///< refused with EXDEV when redirects are off
};

struct Layers {
  Items upper;
  Items top;
  Items bottom;
};

/// Puts a directory called `path` with content into its room; a merged one lies in all layers.
void add_directory(Layers& layers, const std::string& path, Room room, bool with_content) {
  const auto fill = [&](Items& layer, const std::string& name) {
    layer.push_back(with_content ? file(path + "/" + name, name) : dir(path));
  };
  if (room != Room::kUpper) {
    fill(layers.bottom, "low");
  }
  if (room == Room::kMerged) {
    fill(layers.top, "top");
  }
  if (room != Room::kLower) {
    fill(layers.upper, "up");
  }
}

void add_object(Layers& layers, const std::string& kind, const std::string& path, Room room) {
  if (kind == "dir" || kind == "empty-dir") {
    return add_directory(layers, path, room, kind == "dir");
  }
  Items& layer = room == Room::kUpper ? layers.upper : layers.bottom;
  if (kind == "file") {
    layer.push_back(file(path, "content of " + path));
  } else if (kind == "symlink") {
    layer.push_back(symlink(path, "target"));
  } else if (kind == "fifo") {
    layer.push_back(fifo(path));
  } else if (kind == "whiteout") {
    layers.bottom.push_back(file(path, "hidden"));
    layers.upper.push_back(whiteout(path));
  } else if (kind == "whited-out-dir") {
    layers.bottom.push_back(file(path + "/hidden"));
    layers.upper.push_back(whiteout(path));
  }
  if (room == Room::kMerged && kind == "file") {
    layers.upper.push_back(file(path, "upper content"));
  }
}

bool can_be_merged(const std::string& kind) {
  return kind == "dir" || kind == "empty-dir" || kind == "file";
}

/// What the matrix is made of.
class Matrix {
 public:
  Matrix() {
    for (const char* source : {"file", "dir", "empty-dir", "symlink", "fifo"}) {
      for (const Room room : {Room::kLower, Room::kUpper, Room::kMerged}) {
        if (room != Room::kMerged || can_be_merged(source)) {
          add_targets(source, room);
        }
      }
    }
  }

  const std::vector<Case>& cases() const { return cases_; }
  Stack stack() const {
    return Stack{}.lower(layers_.top).lower(layers_.bottom).upper(layers_.upper);
  }

 private:
  void add_targets(const std::string& source, Room room) {
    for (const char* target :
         {"nothing", "file", "empty-dir", "dir", "symlink", "whiteout", "whited-out-dir"}) {
      for (const Room target_room : {Room::kLower, Room::kUpper, Room::kMerged}) {
        const bool has_room = std::string(target) != "nothing" && target[0] != 'w';
        if ((!has_room && target_room != Room::kLower) ||
            (target_room == Room::kMerged && !can_be_merged(target))) {
          continue;
        }
        for (const char* to : {"t", "sub/t", "../out/t"}) {
          for (const unsigned flags : {0U, unsigned{RENAME_NOREPLACE}, unsigned{RENAME_EXCHANGE}}) {
            add(source, room, target, target_room, to, flags);
          }
        }
      }
    }
  }

  void add(const std::string& source, Room room, const std::string& target, Room target_room,
           const std::string& to, unsigned flags) {
    Case one;
    one.directory = "c" + std::to_string(cases_.size());
    one.what = std::string(name_of(room)) + " " + source + " onto " + name_of(target_room) + " " +
               target + " at " + to + " flags " + std::to_string(flags);
    const std::string in = one.directory + "/in";
    one.from = in + "/s";
    one.to = to[0] == '.' ? one.directory + "/out/t" : in + "/" + to;
    one.flags = flags;
    const auto is_below = [](const std::string& kind, Room where) {
      return kind.ends_with("dir") && kind[0] != 'w' && where != Room::kUpper;
    };
    one.moves_lower_directory =
        is_below(source, room) || (flags == RENAME_EXCHANGE && is_below(target, target_room));
    for (const char* made : {"/in/sub", "/out"}) {
      layers_.bottom.push_back(dir(one.directory + made));
    }
    add_object(layers_, source, one.from, room);
    if (target != "nothing") {
      add_object(layers_, target, one.to, target_room);
    }
    cases_.push_back(std::move(one));
  }

  std::vector<Case> cases_;
  Layers layers_;
};

/// POSIX leaves the choice between two errors for a directory in the way; xfs takes the other one.
std::string rename_outcome(const Stack& stack, const Case& one) {
  const std::string result = call::rename(stack(one.from), stack(one.to), one.flags);
  return result == "EEXIST" && one.flags == 0 ? "ENOTEMPTY" : result;
}

std::map<std::string, Picture> pictures(const Stack& stack, const std::vector<Case>& cases) {
  std::map<std::string, Picture> all;
  for (const Case& one : cases) {
    all[one.directory] = picture(stack(one.directory));
  }
  return all;
}

TEST_CASE("rename does what a plain directory does, for every source and target", "[rename]") {
  const Matrix matrix;
  Stack oracle = matrix.stack();
  oracle.mount({System::Kind::kPlain, "plain", {}, true, true, true});
  const auto before = pictures(oracle, matrix.cases());
  std::map<std::string, std::string> expected;
  for (const Case& one : matrix.cases()) {
    expected[one.directory] = rename_outcome(oracle, one);
  }
  const auto after = pictures(oracle, matrix.cases());

  on(every_union(), [&](const System& system) {
    Stack stack = matrix.stack();
    stack.mount(system);
    CHECK(pictures(stack, matrix.cases()) == before);
    std::map<std::string, std::string> refused;
    const auto check = [&](const char* when) {
      for (const Case& one : matrix.cases()) {
        const bool is_refused = refused.count(one.directory) != 0;
        const Picture& wanted = (is_refused ? before : after).at(one.directory);
        if (const Picture seen = picture(stack(one.directory)); seen != wanted) {
          CAPTURE(one.what, one.directory, when);
          CHECK(seen == wanted);
        }
      }
    };
    for (const Case& one : matrix.cases()) {
      const std::string result = rename_outcome(stack, one);
      const std::string& wanted = expected.at(one.directory);
      if (!system.redirect && one.moves_lower_directory &&
          (wanted == "ok" || wanted == "ENOTEMPTY")) {
        refused[one.directory] = "EXDEV";
      }
      const std::string must_be = refused.count(one.directory) != 0 ? "EXDEV" : wanted;
      if (result != must_be) {
        CAPTURE(one.what, one.directory);
        CHECK(result == must_be);
      }
    }
    check("at once");
    stack.remount();
    check("after remount");
  });
}

TEST_CASE("rename into its own subtree and other refusals", "[rename]") {
  Systems systems = every_union();
  systems.push_back(posix_systems().front());
  on(systems, [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("d/e/f/x"), file("g", "1"), dir("empty")})
                      .upper({dir("d/e"), dir("up/sub")});
    stack.mount(system);
    CHECK(call::rename(stack("d"), stack("d/e/f/d")) == "EINVAL");
    CHECK(call::rename(stack("d"), stack("d/e")) == "EINVAL");
    CHECK(call::rename(stack("up"), stack("up/sub/x")) == "EINVAL");
    CHECK(call::rename(stack("d/e"), stack("d")) == "ENOTEMPTY");
    CHECK(call::rename(stack("d/e"), stack("d"), RENAME_EXCHANGE) == "EINVAL");
    CHECK(call::rename(stack("nothing"), stack("x")) == "ENOENT");
    CHECK(call::rename(stack("g"), stack("nowhere/x")) == "ENOENT");
    CHECK(call::rename(stack("g"), stack("nothing"), RENAME_EXCHANGE) == "ENOENT");
    CHECK(call::rename(stack("g"), stack("g/x")) == "ENOTDIR");
    CHECK(call::rename(stack("g"), stack("empty")) == "EISDIR");
    CHECK(call::rename(stack("empty"), stack("g")) == "ENOTDIR");
    CHECK(call::rename(stack("g"), stack("d"), RENAME_NOREPLACE) == "EEXIST");
    CHECK(call::rename(stack("g"), stack("x"), RENAME_NOREPLACE | RENAME_EXCHANGE) == "EINVAL");
    CHECK(call::rename(stack("g"), stack("x"), 1U << 20U) == "EINVAL");
    if (!system.is_plain()) {
      CHECK(call::rename(stack("g"), stack("x"), RENAME_WHITEOUT) == "EINVAL");
    }
    CHECK(call::rename(stack("d/."), stack("x")) == "EBUSY");
    CHECK(call::rename(stack("g"), stack("g")) == "ok");
    CHECK(content(stack("g")) == "1");
  });
}

Systems with_redirect() {
  Systems systems = every_union();
  systems.push_back(posix_systems().front());
  std::erase_if(systems, [](const System& system) { return !system.redirect; });
  return systems;
}

TEST_CASE("a renamed lower directory keeps its content at every depth, also after remount",
          "[rename][redirect]") {
  on(with_redirect(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("a/b/c/top", "1"), file("other/x", "o")})
                      .lower({file("a/b/c/low", "2"), file("a/b/c/d/deep", "3")})
                      .upper();
    stack.mount(system);
    REQUIRE(call::rename(stack("a/b/c"), stack("other/moved")) == "ok");
    REQUIRE(call::append(stack("other/moved/d/deep"), "+") == "ok");
    REQUIRE(call::unlink(stack("other/moved/top")) == "ok");
    const Picture expected = {"a/",
                              "a/b/",
                              "other/",
                              "other/moved/",
                              "other/moved/d/",
                              "other/moved/d/deep=3+",
                              "other/moved/low=2",
                              "other/x=o"};
    CHECK(picture(stack()) == expected);
    stack.remount();
    CHECK(picture(stack()) == expected);
  });
}

TEST_CASE("a redirected directory can be renamed again and again", "[rename][redirect]") {
  on(with_redirect(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("a/b/x", "1"), dir("p/q"), file("z/keep", "k")})
                      .lower({file("a/b/y", "2"), file("p/q/w", "3")})
                      .upper();
    stack.mount(system);
    for (int round = 0; round < 3; ++round) {
      REQUIRE(call::rename(stack("a/b"), stack("a/c")) == "ok");
      REQUIRE(call::rename(stack("a/c"), stack("p/q/d")) == "ok");
      REQUIRE(call::rename(stack("p/q"), stack("z/q2")) == "ok");
      stack.remount();
      CHECK(picture(stack("z/q2")) == Picture{"d/", "d/x=1", "d/y=2", "w=3"});
      REQUIRE(call::rename(stack("z"), stack("zz")) == "ok");
      REQUIRE(call::rename(stack("zz/q2/d"), stack("a/b")) == "ok");
      REQUIRE(call::rename(stack("zz/q2"), stack("p/q")) == "ok");
      REQUIRE(call::rename(stack("zz"), stack("z")) == "ok");
      CHECK(picture(stack()) ==
            Picture{"a/", "a/b/", "a/b/x=1", "a/b/y=2", "p/", "p/q/", "p/q/w=3", "z/", "z/keep=k"});
    }
  });
}

TEST_CASE("what is made where a directory was moved away does not see its content",
          "[rename][redirect]") {
  on(with_redirect(), [](const System& system) {
    Stack stack = Stack{}.lower({file("a/x", "1"), file("b/y", "2")}).upper();
    stack.mount(system);
    REQUIRE(call::rename(stack("a"), stack("c")) == "ok");
    REQUIRE(call::mkdir(stack("a")) == "ok");
    REQUIRE(call::create(stack("a/new"), "3") == "ok");
    REQUIRE(call::rename(stack("b"), stack("c/b")) == "ok");
    REQUIRE(call::rename(stack("a"), stack("b")) == "ok");
    REQUIRE(call::rename(stack("c"), stack("b"), RENAME_EXCHANGE) == "ok");
    const Picture expected = {"b/", "b/b/", "b/b/y=2", "b/x=1", "c/", "c/new=3"};
    CHECK(picture(stack()) == expected);
    stack.remount();
    CHECK(picture(stack()) == expected);
    REQUIRE(call::rename(stack("c"), stack("b/b/c")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"b/", "b/b/", "b/b/c/", "b/b/c/new=3", "b/b/y=2", "b/x=1"});
  });
}

TEST_CASE("a moved directory can be emptied and removed", "[rename][redirect]") {
  on(with_redirect(), [](const System& system) {
    Stack stack = Stack{}.lower({file("a/x", "1"), file("a/s/y", "2")}).upper();
    stack.mount(system);
    REQUIRE(call::rename(stack("a"), stack("b")) == "ok");
    stack.remount();
    CHECK(call::rmdir(stack("b")) == "ENOTEMPTY");
    for (const char* name : {"b/x", "b/s/y"}) {
      REQUIRE(call::unlink(stack(name)) == "ok");
    }
    REQUIRE(call::rmdir(stack("b/s")) == "ok");
    REQUIRE(call::rmdir(stack("b")) == "ok");
    REQUIRE(call::mkdir(stack("a")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"a/"});
  });
}

TEST_CASE("open files and directories follow a rename of their parents", "[rename]") {
  on(with_redirect(), [](const System& system) {
    Stack stack = Stack{}.lower({file("a/b/f", "1"), file("a/b/g", "2")}).upper();
    stack.mount(system);
    File writer(stack("a/b/f"), O_RDWR);
    File directory(stack("a/b"), O_RDONLY | O_DIRECTORY);
    REQUIRE(call::rename(stack("a"), stack("z")) == "ok");
    REQUIRE(call::rename(stack("z/b"), stack("y")) == "ok");
    CHECK(writer.pwrite("W", 0) == "ok");
    CHECK(content(stack("y/f")) == "W");
    CHECK(outcome(::mkdirat(directory.fd(), "made", 0755)) == "ok");
    CHECK(outcome(::renameat(directory.fd(), "g", directory.fd(), "h")) == "ok");
    (void)writer.close();
    (void)directory.close();
    stack.remount();
    CHECK(picture(stack()) == Picture{"y/", "y/f=W", "y/h=2", "y/made/", "z/"});
  });
}

TEST_CASE("redirect_dir=off: moving a lower directory is EXDEV, an upper one moves",
          "[rename][redirect]") {
  Systems systems = every_union();
  std::erase_if(systems, [](const System& system) { return system.redirect; });
  on(systems, [](const System& system) {
    Stack stack =
        Stack{}.lower({file("low/x", "1"), file("m/x", "2")}).upper({file("up/x", "3"), dir("m")});
    stack.mount(system);
    CHECK(call::rename(stack("low"), stack("l2")) == "EXDEV");
    CHECK(call::rename(stack("m"), stack("m2")) == "EXDEV");
    CHECK(call::rename(stack("up"), stack("u2")) == "ok");
    REQUIRE(call::mkdir(stack("new")) == "ok");
    CHECK(call::rename(stack("new"), stack("newer")) == "ok");
    CHECK(call::rename(stack("low/x"), stack("m/y")) == "ok");
    stack.remount();
    CHECK(picture(stack()) == Picture{"low/", "m/", "m/x=2", "m/y=1", "newer/", "u2/", "u2/x=3"});
  });
}

TEST_CASE("a renamed file leaves a whiteout only where a layer has the name", "[rename]") {
  on(every_union(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/low", "1"), dir("e")}).upper({file("d/up", "2")});
    stack.mount(system);
    REQUIRE(call::rename(stack("d/low"), stack("e/low2")) == "ok");
    REQUIRE(call::rename(stack("d/up"), stack("e/up2")) == "ok");
    REQUIRE(call::append(stack("e/low2"), "+") == "ok");
    CHECK(stack.upper_picture() == Picture{"d/", "d/low (whiteout)", "e/", "e/low2=1+", "e/up2=2"});
    CHECK(stack.left_overs() == Picture{});
  });
}

}  // namespace
}  // namespace plyfs::tests
