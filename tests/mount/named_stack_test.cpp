// STACK by the name of a mount, live or not; and what the index of hard links shows.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "stack.h"
#include "volumes.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A mount with a name, in a store of its own.
class Named {
 public:
  Named() : root_(fresh_directory()) {
    for (const char* name : {"/image", "/up", "/m"}) {
      (void)::mkdir((root_ + name).c_str(), 0755);
    }
    make_tree(root_ + "/image", {file("etc/motd", "old"), file("gone")}, overlay_prefix());
  }
  ~Named() {
    (void)ask("plyfs", {"umount", "--lazy", root_ + "/m"});
    remove_tree(root_);
  }
  Named(const Named&) = delete;
  Named& operator=(const Named&) = delete;

  [[nodiscard]] Ran ask(const std::string& program, const Arguments& arguments) const {
    Arguments all{"env", "PLYFS_HOME=" + root_ + "/home",
                  program == "plyfs" ? plyfs_program() : plyfs_program() + "-dump"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run(all);
  }
  [[nodiscard]] std::string operator()(const std::string& path) const { return root_ + "/" + path; }

 private:
  std::string root_;
};

TEST_CASE("a stack is found by the name of its mount, live or not", "[dump][store]") {
  if (served_volumes().empty()) {
    return;
  }
  Named host;
  const Ran mounted =
      host.ask("plyfs", {"mount", "--name", "web", "--lower", host("image"), "--upper", host("up"),
                         "-v", host("data") + ":/srv", host("m")});
  REQUIRE(mounted.exit_code == 0);
  CHECK(call::overwrite(host("m/etc/motd"), "new") == "ok");
  CHECK(call::unlink(host("m/gone")) == "ok");
  const auto check_all = [&](const std::string& round) {
    CAPTURE(round);
    const Ran which = host.ask("dump", {"web", "which", "etc/motd", "srv/x"});
    CHECK(which.exit_code == 0);
    CHECK(contains(which.out, "/etc/motd: file, seen in the upper layer\n"));
    CHECK(contains(which.out, "/srv/x: in the volume " + host("data")));
    CHECK(host.ask("plyfs", {"diff", "web"}).out == "D /gone\nC /etc\nC /etc/motd\n");
    CHECK(host.ask("plyfs", {"commit", "web", host("layer" + round)}).exit_code == 0);
    CHECK(content(host("layer" + round + "/etc/motd")) == "new");
    CHECK(host.ask("plyfs", {"flatten", "web", host("flat" + round)}).exit_code == 0);
    CHECK(picture(host("flat" + round)) == Picture{"etc/", "etc/motd=new"});
  };
  check_all("live");
  REQUIRE(host.ask("plyfs", {"umount", "web"}).exit_code == 0);
  check_all("recorded");
  const Ran stats = host.ask("dump", {"web", "stats"});
  CHECK(stats.exit_code == 2);  // counters are a live mount's only
  CHECK(contains(stats.err, "no live mount of yours answers: web"));
  const Ran unknown = host.ask("dump", {"nobody", "layers"});
  CHECK(unknown.exit_code == 2);
  CHECK(contains(unknown.err, "no live mount of yours answers, and none has that name: nobody"));
  // A name is never a path.
  CHECK(host.ask("dump", {"../mounts/web", "layers"}).exit_code == 2);
}

Ran dump(const Stack& stack, const Arguments& arguments) {
  Arguments all = {plyfs_program() + "-dump", "-o", stack.layer_options()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run(all);
}

std::vector<std::string> index_of(const Stack& stack) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator{stack.work_path("index"), error}) {
    names.push_back(entry.path().filename());
  }
  return names;
}

TEST_CASE("hard links that share a copy are shown as the mount shows them", "[dump][hardlink]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack =
        Stack{}
            .lower({file("a/one", "old"), hardlink("b/two", "a/one"), hardlink("c/three", "a/one")})
            .upper();
    stack.mount(system);
    CHECK(call::overwrite(stack("a/one"), "new") == "ok");
    CHECK(content(stack("b/two")) == "new");
    stack.unmount();
    const std::vector<std::string> entries = index_of(stack);
    if (entries.size() != 1) {
      return skip("the layers' filesystem gives no file handles: no index");
    }
    const Ran which = dump(stack, {"which", "a/one", "b/two"});
    CHECK(contains(which.out, "/a/one: file, seen in the upper layer\n"));
    CHECK(contains(which.out, "/b/two: file, seen in the upper layer\n"));
    CHECK(contains(which.out, "shared by its hard links, in the index as " + entries[0]));
    CHECK(contains(
        which.out,
        "another hard link of it was changed: all show the copy in the index, " + entries[0]));
    const Ran json = dump(stack, {"--json", "which", "--digest", "b/two"});
    CHECK(contains(json.out, "\"index_entry\": \"" + entries[0] + "\""));
    CHECK(contains(json.out, "\"cause\": \"indexed\""));
    CHECK(contains(dump(stack, {"layers"}).out,
                   "Hard links share 1 files of the upper through the index"));
    CHECK(dump(stack, {"verify"}).out == "nothing is wrong\n");
  });
}

TEST_CASE("verify finds what is wrong in the index, and repairs what nothing shows",
          "[dump][hardlink]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack =
        Stack{}.lower({file("a/one", "old"), hardlink("b/two", "a/one"), file("f")}).upper();
    stack.mount(system);
    CHECK(call::overwrite(stack("a/one"), "new") == "ok");
    stack.unmount();
    const std::vector<std::string> entries = index_of(stack);
    if (entries.size() != 1) {
      return skip("the layers' filesystem gives no file handles: no index");
    }
    const std::string index = stack.work_path("index/");
    std::string other = entries[0];
    other.back() = other.back() == '0' ? '1' : '0';
    std::ofstream{index + other} << "of a file that no layer has";
    std::ofstream{index + "nonsense"} << "";
    const std::string mark = overlay_prefix() + "nlink";
    CHECK(call::setxattr(index + entries[0], mark, "U+3") == "ok");
    Ran verify = dump(stack, {"verify"});
    CHECK(verify.exit_code == 4);
    CHECK(contains(verify.out, "repairable: layer upper /" + other +
                                   ": an entry in the index of hard links whose lower file is in "
                                   "no layer\n"));
    CHECK(contains(verify.out,
                   "error: layer upper /nonsense: in the index of hard links, but no "
                   "entry of it\n"));
    CHECK(contains(verify.out, "error: layer upper /" + entries[0] +
                                   ": a hard-linked file counts 5 names and has 2\n"));
    CHECK(dump(stack, {"verify", "--repair"}).exit_code == 4);
    CHECK_FALSE(std::filesystem::exists(index + other));
    CHECK(call::unlink(index + "nonsense") == "ok");
    CHECK(call::setxattr(index + entries[0], mark, "U+0") == "ok");
    // What is there is the entry and one name: two links, as many as names.
    verify = dump(stack, {"verify"});
    CHECK(verify.out == "nothing is wrong\n");
    CHECK(verify.exit_code == 0);
  });
}

}  // namespace
}  // namespace plyfs::tests
