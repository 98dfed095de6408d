// passthrough=on: the kernel itself reads and writes files of the upper.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr std::size_t kPage = 4096;
constexpr uid_t kSomebody = 12345;

/// Runs `body(system)` on plyfs with passthrough, where the kernel has it.
template <typename Body>
void on_passthrough(const Body& body) {
  on(plyfs_only(), [&](const System& system) {
    if (!is_root()) {
      return skip("passthrough needs root");
    }
    System through = system;
    through.options += (through.options.empty() ? "" : ",") + std::string{"passthrough=on"};
    {
      Stack probe = Stack{}.lower({file("f")}).upper();
      probe.mount(through);
      const Ran told = run({plyfs_program(), "inspect", probe.mountpoint()});
      if (told.out.find("\"passthrough\": \"on\"") == std::string::npos) {
        return skip("the kernel does not offer passthrough (Linux 6.9)");
      }
    }
    body(through);
  });
}

/// `python3 -c EXPRESSION` over what the mount counted, as `s`; "<...>" on an error.
std::string counted(const Stack& stack, const std::string& expression) {
  const Ran told = run({plyfs_program() + "-dump", stack.mountpoint(), "--json", "stats"});
  const Ran answer = run({"python3", "-c",
                          "import json, sys\n"
                          "s = json.loads(sys.argv[1])\n"
                          "print(" +
                              expression + ", end='')",
                          told.out});
  return answer.exit_code == 0 ? answer.out : "<" + told.err + answer.err + ">";
}

/// How often the daemon was asked for `operation`; 0 for never.
std::string asked(const Stack& stack, const std::string& operation) {
  return counted(
      stack, "sum(r['requests'] for r in s['requests'] if r['operation'] == '" + operation + "')");
}

class Mapping {
 public:
  Mapping(const File& file, int protection)
      : at_(static_cast<char*>(::mmap(nullptr, kPage, protection, MAP_SHARED, file.fd(), 0))) {}
  ~Mapping() { ::munmap(at_, kPage); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  [[nodiscard]] bool valid() const { return at_ != MAP_FAILED; }
  [[nodiscard]] char* data() const { return at_; }

 private:
  char* at_;
};

TEST_CASE("with passthrough the daemon is asked neither to read nor to write an upper file",
          "[passthrough]") {
  on_passthrough([](const System& system) {
    Stack stack = Stack{}.lower({file("low", "lower")}).upper({file("up", "upper")});
    stack.mount(system);
    for (const char* name : {"up", "low", "new"}) {
      INFO(name);
      File target(stack(name), O_RDWR | O_CREAT);
      for (int i = 0; i < 100; ++i) {
        CHECK(target.pwrite(std::string(1000, 'x'), i * 1000) == "ok");
      }
      CHECK((target.read_all() == std::string(100000, 'x')));
      CHECK((content(stack.upper_path(name)) == std::string(100000, 'x')));
      CHECK(target.stat().st_size == 100000);
    }
    CHECK(asked(stack, "write") == "0");
    CHECK(asked(stack, "read") == "0");
    stack.remount();
    CHECK((content(stack("low")) == std::string(100000, 'x')));
  });
}

TEST_CASE("a reader of a lower file sees what others write after its copy-up, with passthrough too",
          "[passthrough]") {
  on_passthrough([](const System& system) {
    Stack stack = Stack{}.lower({file("f", "0123456789")}).upper();
    stack.mount(system);
    const File reader(stack("f"), O_RDONLY);
    const Mapping mapped(reader, PROT_READ);
    REQUIRE(mapped.valid());
    CHECK(std::string(mapped.data(), 10) == "0123456789");
    File writer(stack("f"), O_RDWR);
    CHECK(writer.pwrite("ABC", 0) == "ok");
    CHECK(reader.read_all() == "ABC3456789");
    CHECK(std::string(mapped.data(), 10) == "ABC3456789");
    CHECK(content(stack.upper_path("f")) == "ABC3456789");
  });
}

TEST_CASE("one file open in many ways is one file, with passthrough", "[passthrough]") {
  on_passthrough([](const System& system) {
    Stack stack = Stack{}.lower({file("f", "0123456789")}).upper();
    stack.mount(system);
    for (unsigned round = 0; round < 3; ++round) {
      File writer(stack("f"), O_RDWR);
      const File reader(stack("f"), O_RDONLY);
      File appender(stack("f"), O_WRONLY | O_APPEND);
      const Mapping mapped(writer, PROT_READ | PROT_WRITE);
      REQUIRE(mapped.valid());
      CHECK(writer.pwrite("abc", 0) == "ok");
      std::memcpy(mapped.data() + 3, "map", 3);
      CHECK(appender.write("+") == "ok");
      CHECK(reader.read_all() == "abcmap6789" + std::string(round + 1, '+'));
      CHECK(reader.stat().st_size == 11 + round);
      CHECK(status(stack("f")).st_size == 11 + round);
    }
    // The last of them closed: others may open it in any order again.
    CHECK(call::append(stack("f"), "!") == "ok");
    CHECK(content(stack("f")) == "abcmap6789+++!");
  });
}

TEST_CASE("a store into a mapping shows in mtime, with passthrough", "[passthrough]") {
  on_passthrough([](const System& system) {
    Stack stack = Stack{}.lower({file("f", "0123456789")}).upper();
    stack.mount(system);
    const timespec old{1'000'000'000, 0};
    CHECK(call::utimens(stack("f"), old, old) == "ok");
    const File writer(stack("f"), O_RDWR);
    CHECK(nanoseconds(writer.stat().st_mtim) == nanoseconds(old));
    const Mapping mapped(writer, PROT_READ | PROT_WRITE);
    REQUIRE(mapped.valid());
    mapped.data()[0] = 'x';
    CHECK(nanoseconds(writer.stat().st_mtim) > nanoseconds(old));
    CHECK(nanoseconds(status(stack("f")).st_mtim) > nanoseconds(old));
  });
}

TEST_CASE("unlinked and nameless files work with passthrough", "[passthrough]") {
  on_passthrough([](const System& system) {
    Stack stack = Stack{}.lower({file("f", "lower")}).upper();
    stack.mount(system);
    File open(stack("f"), O_RDWR);
    CHECK(call::unlink(stack("f")) == "ok");
    CHECK(open.pwrite("gone!", 0) == "ok");
    CHECK(open.read_all() == "gone!");
    CHECK(open.stat().st_nlink == 0);
    CHECK(call::create(stack("f"), "another") == "ok");
    CHECK(content(stack("f")) == "another");
    File nameless(stack(), O_TMPFILE | O_RDWR);
    CHECK(nameless.write("tmp") == "ok");
    CHECK(nameless.read_all() == "tmp");
    const std::string self = "/proc/self/fd/" + std::to_string(nameless.fd());
    CHECK(outcome(::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, stack("named").c_str(),
                           AT_SYMLINK_FOLLOW)) == "ok");
    CHECK(content(stack("named")) == "tmp");
  });
}

TEST_CASE("O_TRUNC copies up no data, with passthrough", "[passthrough]") {
  on_passthrough([](const System& system) {
    Stack stack = Stack{}.lower({file("f", std::string(1 << 20, 'x'))}).upper();
    stack.mount(system);
    CHECK(call::overwrite(stack("f"), "short") == "ok");
    CHECK(content(stack("f")) == "short");
    CHECK(counted(stack, "s['copy_up']['files'], s['copy_up']['bytes']") == "1 0");
  });
}

TEST_CASE("writing takes suid, sgid and capabilities away, with passthrough", "[passthrough]") {
  on_passthrough([](const System& system) {
    Stack stack = Stack{}
                      .lower({file("set", "x").with_owner(kSomebody, kSomebody).with_mode(06755),
                              file("later", "x").with_owner(kSomebody, kSomebody).with_mode(0755)})
                      .upper();
    stack.mount(system);
    const auto write = [&](const char* name) {
      return as_user(kSomebody, kSomebody, [&] { return call::append(stack(name), "+"); });
    };
    CHECK(write("set") == "ok");
    CHECK(permissions(stack("set")) == 0755);
    const File open(stack("later"), O_RDWR);  // the kernel writes it itself from now on
    CHECK(call::chmod(stack("later"), 06755) == "ok");
    CHECK(permissions(stack("later")) == 06755);
    CHECK(write("later") == "ok");
    CHECK(permissions(stack("later")) == 0755);
    CHECK(call::chmod(stack("set"), 06755) == "ok");
    CHECK(call::append(stack("set"), "+") == "ok");  // root
    CHECK(permissions(stack("set")) == 06755);
  });
}

TEST_CASE("passthrough is refused where it is not allowed", "[passthrough]") {
  on(plyfs_only(), [](const System& system) {
    if (is_root()) {
      return skip("needs an ordinary user");
    }
    Stack stack = Stack{}.lower({file("f")}).upper();
    stack.build(system);
    const Ran ran = run({plyfs_program(), "mount", "-o", stack.layer_options() + ",passthrough=on",
                         stack.mountpoint()});
    CHECK(ran.exit_code != 0);
    CHECK(ran.err ==
          "plyfs: passthrough=on is root's, outside of user namespaces (CAP_SYS_ADMIN); leave it "
          "out\n");
  });
}

TEST_CASE("ftruncate and truncate change mtime without writeback, too", "[io]") {
  on(plyfs_only(), [](const System& system) {
    const timespec old{1'000'000'000, 0};
    Stack stack =
        Stack{}
            .lower({file("cut", "0123456789").with_mtime(old), file("same").with_mtime(old)})
            .upper();
    stack.mount(system, "writeback=off");
    CHECK(call::truncate(stack("cut"), 0) == "ok");
    CHECK(nanoseconds(status(stack("cut")).st_mtim) > nanoseconds(old));
    const File same(stack("same"), O_RDWR);
    CHECK(outcome(::ftruncate(same.fd(), 0)) == "ok");
    CHECK(nanoseconds(same.stat().st_mtim) > nanoseconds(old));
  });
}

}  // namespace
}  // namespace plyfs::tests
