// A lower layer answers with EIO: an error while asking is told as one, never taken for a "no".
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "filesystems.h"
#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

/// plyfs over a layer that fails on demand, above and below layers that do not.
class BrokenStack {
 public:
  BrokenStack(const System& system, const Items& top, const Items& broken, const Items& bottom)
      : root_(fresh_directory()) {
    for (const char* name : {"top", "source", "broken", "bottom", "upper", "work", "mnt"}) {
      REQUIRE(call::mkdir(path(name)) == "ok");
    }
    make_tree(path("top"), top, overlay_prefix());
    make_tree(path("source"), broken, overlay_prefix());
    make_tree(path("bottom"), bottom, overlay_prefix());
    (void)std::ofstream{path("rules")};
    layer_ = start({failing_fs(), path("source"), path("rules"), path("broken")});
    await_mount("broken");
    const std::string options = "lowerdir=" + path("top") + ":" + path("broken") + ":" +
                                path("bottom") + ",upperdir=" + path("upper") +
                                ",workdir=" + path("work") +
                                (system.options.empty() ? "" : "," + system.options);
    daemon_ = start({"sh", "-c", "exec \"$@\" 2>\"$0\"", path("log"), plyfs_program(), "mount",
                     "-f", "-o", options, path("mnt")});
    await_mount("mnt");
  }
  ~BrokenStack() {
    unmount("mnt");
    CHECK(wait_for(daemon_, 60) == 0);
    unmount("broken");
    (void)wait_for(layer_, 60);
    remove_tree(root_);
  }
  BrokenStack(const BrokenStack&) = delete;
  BrokenStack& operator=(const BrokenStack&) = delete;

  /// Each "OPERATION NAME": EIO from now on.
  void fail(const std::vector<std::string>& rules) const {
    std::ofstream file{path("rules")};
    for (const std::string& rule : rules) {
      file << rule << " " << EIO << "\n";
    }
  }
  std::string operator()(const std::string& name = {}) const {
    return path("mnt") + (name.empty() ? "" : "/" + name);
  }
  [[nodiscard]] Picture upper() const { return upper_picture(path("upper")); }
  [[nodiscard]] Picture left_overs() const {
    Picture lines = upper_picture(path("work/work"));
    std::erase_if(lines, [](const std::string& line) { return line.ends_with("(whiteout)"); });
    return lines;
  }
  [[nodiscard]] std::string upper_path() const { return path("upper"); }
  [[nodiscard]] std::string top() const { return path("top"); }
  [[nodiscard]] std::string layer() const { return path("broken"); }
  [[nodiscard]] std::string log() const { return content(path("log")); }

 private:
  [[nodiscard]] std::string path(const std::string& name) const { return root_ + "/" + name; }
  void await_mount(const std::string& name) const {
    struct stat parent = {};
    struct stat now = {};
    REQUIRE(::stat(root_.c_str(), &parent) == 0);
    do {
      std::this_thread::yield();
    } while (::stat(path(name).c_str(), &now) != 0 || now.st_dev == parent.st_dev);
  }
  void unmount(const std::string& name) const {
    if (is_root()) {
      (void)::umount2(path(name).c_str(), MNT_DETACH);
    } else {
      (void)run({"fusermount3", "-uz", path(name)});
    }
  }

  std::string root_;
  pid_t layer_ = -1;
  pid_t daemon_ = -1;
};

TEST_CASE("EIO while looking for a name is told, and never taken for its absence", "[broken]") {
  on(plyfs_only(), [](const System& system) {
    const BrokenStack stack(system, {}, {file("x")}, {file("f", "low"), file("other", "o")});
    stack.fail({"stat f"});
    CHECK(call::stat(stack("f")) == "EIO");
    CHECK(content(stack("f")) == "<EIO>");
    CHECK(call::create(stack("f")) == "EIO");
    CHECK(call::mkdir(stack("f")) == "EIO");
    CHECK(call::unlink(stack("f")) == "EIO");
    CHECK(call::rename(stack("other"), stack("f")) == "EIO");
    CHECK(content(stack("other")) == "o");
    CHECK(std::none_of(stack.upper().begin(), stack.upper().end(),
                       [](const std::string& line) { return line.starts_with("f"); }));
    const std::string told = "layer " + stack.layer() +
                             ": looking for /f: Input/output error; the kernel's log (dmesg) names "
                             "the device that fails";
    CHECK(stack.log().find(told) != std::string::npos);
    // Also where nobody reads stderr.
    const Ran inspected = run({plyfs_program(), "inspect", stack()});
    CHECK(inspected.out.find("\"Message\": \"" + told + "\"") != std::string::npos);
    stack.fail({});
    CHECK(content(stack("f")) == "low");  // the error was not remembered
  });
}

TEST_CASE("a redirect that leads out of its layer is told with the layer's name", "[broken]") {
  on(plyfs_only(), [](const System& system) {
    const BrokenStack stack(system, {dir("r").with_xattr(overlay_prefix() + "redirect", "../x")},
                            {}, {dir("x")});
    CHECK(call::stat(stack("r")) == "EINVAL");
    CHECK(stack.log().find("layer " + stack.top() +
                           ": looking for /r: Invalid argument; a mark on it (its redirect?) is "
                           "wrong: see 'plyfs-dump STACK verify'") != std::string::npos);
  });
}

TEST_CASE("EIO while asking whether an empty file is a whiteout is told", "[broken]") {
  on(plyfs_only(), [](const System& system) {
    const BrokenStack stack(system, {}, {file("e")}, {file("e", "below")});
    for (const char* question : {"listxattr e", "getxattr e"}) {
      CAPTURE(question);
      stack.fail({question});
      const std::string result = call::stat(stack("e"));
      // A list that names no mark is an answer: then nothing more is asked.
      CHECK((result == "EIO" || (result == "ok" && std::string(question) == "getxattr e")));
      CHECK(content(stack("e")) != "below");
      stack.fail({});
      CHECK(content(stack("e")).empty());
      CHECK(call::chmod(stack("e"), 0600) == "ok");
    }
  });
}

TEST_CASE("EIO while asking for the marks of a directory is told", "[broken]") {
  on(plyfs_only(), [](const System& system) {
    const BrokenStack stack(system, {}, {opaque("d"), file("d/here", "h"), opaque("p")},
                            {file("d/hidden", "no"), file("p/hidden", "no")});
    for (const char* question : {"listxattr d", "getxattr d"}) {
      CAPTURE(question);
      stack.fail({question});
      const std::string result = call::stat(stack("d/hidden"));
      CHECK((result == "EIO"));
      CHECK(call::create(stack("d/hidden")) == "EIO");
      CHECK(call::rename(stack("d"), stack("moved")) == "EIO");
    }
    stack.fail({});
    CHECK(sorted_names_in(stack("d")) == std::vector<std::string>{"here"});
    CHECK(call::stat(stack("d/hidden")) == "ENOENT");
    CHECK(stack.upper() == Picture{});
  });
}

TEST_CASE("EIO while listing a directory is told; nothing incomplete is shown", "[broken]") {
  on(plyfs_only(), [](const System& system) {
    const BrokenStack stack(system, {file("d/1")}, {file("d/2")}, {file("d/3")});
    const File opened(stack("d"), O_RDONLY | O_DIRECTORY);
    stack.fail({"readdir d"});
    const Ran listed = run({"ls", stack("d")});
    CHECK(listed.out.empty());
    CHECK(listed.err.find("Input/output error") != std::string::npos);
    CHECK(call::rmdir(stack("d")) == "EIO");
    stack.fail({});
    CHECK(sorted_names_in(stack("d")) == std::vector<std::string>{"1", "2", "3"});
  });
}

TEST_CASE("EIO while copying up is told, nothing is copied half, and the next try succeeds",
          "[broken]") {
  on(plyfs_only(), [](const System& system) {
    const std::string data = pattern(300'000);
    Items files;
    const std::vector<std::string> operations = {"read", "open", "listxattr", "getxattr"};
    for (const std::string& operation : operations) {
      files.push_back(file("d/" + operation, data).with_xattr("user.k", "v"));
    }
    const BrokenStack stack(system, {}, files, {});
    for (const std::string& operation : operations) {
      CAPTURE(operation);
      stack.fail({operation + " " + operation});
      CHECK(call::truncate(stack("d/" + operation), 200'000) == "EIO");
      CHECK(call::chown(stack("d/" + operation), ::getuid(), ::getgid()) ==
            (operation.ends_with("xattr") ? "EIO" : "ok"));  // copies no data
      Picture upper = stack.upper();
      std::erase_if(upper, [&](const std::string& line) {
        return !line.starts_with("d/" + operation + "=") || line.ends_with("(metacopy)");
      });
      CHECK(upper == Picture{});
      CHECK(stack.left_overs() == Picture{});
      stack.fail({});
      CHECK((content(stack("d/" + operation)) == data));
      CHECK(call::truncate(stack("d/" + operation), 200'000) == "ok");
      CHECK((content(stack("d/" + operation)) == data.substr(0, 200'000)));
      CHECK(xattr(stack("d/" + operation), "user.k") == "v");
      if (!operation.ends_with("xattr")) {  // those questions may be asked before
        CHECK(stack.log().find("copying up /d/" + operation + " from layer " + stack.layer() +
                               " to " + stack.upper_path() +
                               ": Input/output error; the kernel's log (dmesg) names the device "
                               "that fails") != std::string::npos);
        CHECK(stack.log().find("setattr /d/" + operation + ": Input/output error") !=
              std::string::npos);
      }
    }
  });
}

TEST_CASE("EIO while reading a file or a link of a lower layer is told", "[broken]") {
  on(plyfs_only(), [](const System& system) {
    const BrokenStack stack(system, {}, {file("f", "data"), symlink("l", "target")}, {});
    stack.fail({"read f", "readlink l"});
    CHECK(content(stack("f")) == "<EIO>");
    CHECK(link_target(stack("l")) == "<EIO>");
    stack.fail({});
    CHECK(content(stack("f")) == "data");
    CHECK(link_target(stack("l")) == "target");
  });
}

TEST_CASE("EIO in the middle of a file is told, and what comes before it can be read", "[broken]") {
  on(plyfs_only(), [](const System& system) {
    const std::string data = pattern(300'000);
    const BrokenStack stack(system, {}, {file("f", data)}, {});
    stack.fail({"read-tail f"});
    CHECK((content(stack("f")) == "<EIO>"));
    const File opened(stack("f"), O_RDONLY);
    CHECK((opened.pread(60'000, 4096) == data.substr(60'000, 4096)));
    char byte = 0;
    CHECK(outcome(::pread(opened.fd(), &byte, 1, 100'000)) == "EIO");
    stack.fail({});
    CHECK((content(stack("f")) == data));
  });
}

}  // namespace
}  // namespace plyfs::tests
