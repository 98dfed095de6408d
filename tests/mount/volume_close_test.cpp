// What close(2) is for a volume whose filesystem sends its data then, as network filesystems do:
// the filesystem that fails on demand stands for one.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <thread>

#include "filesystems.h"
#include "messages.h"
#include "volumes.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr int kEnd_s = 60;  // a limit for hangs only

/// A directory on a filesystem whose operations fail as told.
class FailingVolume {
 public:
  explicit FailingVolume(const Items& items = {}) : below_(items) {
    REQUIRE(call::create(around_("rules")) == "ok");
    REQUIRE(call::mkdir(near()) == "ok");
    const dev_t covered = status(near()).st_dev;
    daemon_ = start({failing_fs(), below_(), around_("rules"), near()});
    guard_daemon(daemon_);
    while (status(near()).st_dev == covered) {
      std::this_thread::yield();
    }
  }
  ~FailingVolume() {
    if (run({"fusermount3", "-u", near()}).exit_code != 0) {
      (void)run({"fusermount3", "-uz", near()});
    }
    CHECK(wait_for(daemon_, kEnd_s) == 0);
    release_daemon(daemon_);
  }
  FailingVolume(const FailingVolume&) = delete;
  FailingVolume& operator=(const FailingVolume&) = delete;

  [[nodiscard]] std::string near() const { return around_("near"); }
  [[nodiscard]] std::string below(const std::string& path) const { return below_(path); }
  /// From now on `operation` on files of that name fails; 0: nothing fails.
  void fail(const std::string& operation, const std::string& name, int error) const {
    std::ofstream rules{around_("rules")};
    if (error != 0) {
      rules << operation << ' ' << name << ' ' << error << '\n';
    }
  }

 private:
  HostDirectory below_;
  HostDirectory around_;
  pid_t daemon_ = -1;
};

std::string lacking() {
  return run({"which", "fusermount3"}).exit_code != 0 ? "needs fusermount3" : "";
}

TEST_CASE("close tells of data that the volume's filesystem could not send", "[volume][close]") {
  on(served_volumes(), [](const System& system) {
    if (const std::string lack = lacking(); !lack.empty()) {
      return skip(lack);
    }
    const FailingVolume far({file("f", "1"), file("x", "#!/bin/sh\n").with_mode(0755)});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(far.near(), "/v"));
    const auto written = [&](const std::string& name, int flags, int error) {
      File opened(stack("v/" + name), flags);
      far.fail("flush", name, error);
      const std::string wrote = opened.write("12");
      const std::string closed = opened.close();
      far.fail("flush", name, 0);
      return joined({opened.opened(), wrote, closed});
    };
    CHECK(written("f", O_WRONLY, EIO) == "ok ok EIO");
    CHECK(written("f", O_RDWR, EDQUOT) == "ok ok EDQUOT");
    CHECK(written("f", O_WRONLY | O_APPEND, ENOSPC) == "ok ok ENOSPC");
    CHECK(written("f", O_WRONLY | O_TRUNC, EIO) == "ok ok EIO");
    CHECK(written("new", O_WRONLY | O_CREAT, ENOSPC) == "ok ok ENOSPC");
    CHECK(written("x", O_WRONLY | O_APPEND, EDQUOT) == "ok ok EDQUOT");
    CHECK(written("f", O_WRONLY, 0) == "ok ok ok");
    CHECK(picture(far.below("")) == Picture{"f=12", "new=12", "x=#!/bin/sh\n12"});
    // Who only reads has nothing to lose.
    File reader(stack("v/f"), O_RDONLY);
    far.fail("flush", "f", EIO);
    CHECK(joined({reader.read_all(), reader.close()}) == "12 ok");
  });
}

TEST_CASE("each close of a written file tells, and fsync does", "[volume][close]") {
  on(served_volumes(), [](const System& system) {
    if (const std::string lack = lacking(); !lack.empty()) {
      return skip(lack);
    }
    const FailingVolume far({file("f", "1")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(far.near(), "/v"));
    File first(stack("v/f"), O_RDWR);
    File second(::dup(first.fd()));
    CHECK(second.write("a") == "ok");
    far.fail("flush", "f", EIO);
    CHECK(second.close() == "EIO");
    far.fail("flush", "f", 0);
    CHECK(first.write("b") == "ok");  // after the daemon let go of its descriptor
    far.fail("sync", "f", EIO);
    CHECK(outcome(::fsync(first.fd())) == "EIO");
    far.fail("flush", "f", EDQUOT);
    CHECK(first.close() == "EDQUOT");
    far.fail("flush", "f", 0);
    CHECK(content(stack("v/f")) == "ab");
  });
}

TEST_CASE("close sends what was stored through a mapping", "[volume][close]") {
  on(served_volumes(), [](const System& system) {
    if (const std::string lack = lacking(); !lack.empty()) {
      return skip(lack);
    }
    if (!kernel_is_at_least(6, 6)) {
      return skip("needs Linux 6.6: files past the page cache that may be mapped");
    }
    const FailingVolume far({file("f", std::string(4096, '1'))});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(far.near(), "/v"));
    File opened(stack("v/f"), O_RDWR);
    void* const page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, opened.fd(), 0);
    REQUIRE(page != MAP_FAILED);
    static_cast<char*>(page)[0] = '2';
    far.fail("flush", "f", EIO);
    CHECK(opened.close() == "EIO");
    far.fail("flush", "f", 0);
    CHECK(content(far.below("f")).substr(0, 2) == "21");
    CHECK(outcome(::munmap(page, 4096)) == "ok");
  });
}

TEST_CASE("what was written and closed can be executed beside the mount", "[volume][close]") {
  on(served_volumes(), [](const System& system) {
    if (const std::string lack = lacking(); !lack.empty()) {
      return skip(lack);
    }
    const FailingVolume far;
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(far.near(), "/v"));
    const std::string program = content("/bin/true");
    CHECK(joined({call::create(stack("v/new"), program, 0755),
                  call::create(stack("v/later"), program, 0644),
                  call::chmod(stack("v/later"), 0755)}) == "ok ok ok");
    CHECK(run({far.near() + "/new"}).exit_code == 0);
    CHECK(run({far.near() + "/later"}).exit_code == 0);
  });
}

TEST_CASE("closing costs a message only where it sends data", "[volume][close][messages]") {
  on(served_volumes(), [](const System& system) {
    if (const std::string lack = lacking(); !lack.empty()) {
      return skip(lack);
    }
    if (!kernel_is_at_least(5, 16)) {
      return skip("needs Linux 5.16: FOPEN_NOFLUSH");
    }
    const FailingVolume far({file("f", "1")});
    const HostDirectory local({file("f", "1")});
    Stack stack = Stack{}.lower({file("u", "1")}).upper();
    stack.mount(system, volume(far.near(), "/far") + "," + volume(local(), "/local"));
    CHECK(call::overwrite(stack("u"), "1") == "ok");
    const auto flushes = [&](const std::string& name, int flags) {
      return cost_of(stack, [&] { CHECK(call::open(stack(name), flags) == "ok"); }).of("flush");
    };
    CHECK(flushes("far/f", O_WRONLY) == kTimes);
    CHECK(flushes("far/f", O_RDONLY) == 0);
    CHECK(flushes("local/f", O_RDWR) == 0);
    CHECK(flushes("local/f", O_RDONLY) == 0);
    CHECK(flushes("u", O_RDWR) == 0);
    CHECK(flushes("u", O_RDONLY) == 0);
  });
}

TEST_CASE("the volume's filesystem may refuse to open", "[volume][close]") {
  on(served_volumes(), [](const System& system) {
    if (const std::string lack = lacking(); !lack.empty()) {
      return skip(lack);
    }
    const FailingVolume far({file("f", "1")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(far.near(), "/v"));
    CHECK(content(stack("v/f")) == "1");
    far.fail("open", "f", EACCES);
    CHECK(call::open(stack("v/f"), O_RDONLY) == "EACCES");
    CHECK(call::open(stack("v/f"), O_WRONLY) == "EACCES");
    far.fail("open", "f", 0);
    CHECK(content(stack("v/f")) == "1");
  });
}

}  // namespace
}  // namespace plyfs::tests
