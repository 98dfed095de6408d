// flock and fcntl locks between processes.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "stack.h"

namespace plyfs::tests {
namespace {

std::string lock_range(const File& handle, short type, off_t start, off_t length,
                       int command = F_SETLK) {
  struct flock range = {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = start;
  range.l_len = length;
  return outcome(::fcntl(handle.fd(), command, &range));
}

TEST_CASE("flock excludes other processes, and shared locks each other not", "[lock]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1")}).upper();
    stack.mount(system);
    const auto elsewhere = [&](int operation) {
      return in_child([&] {
        const File other(stack("f"), O_RDWR);
        return outcome(::flock(other.fd(), operation | LOCK_NB));
      });
    };
    const File handle(stack("f"), O_RDWR);
    REQUIRE(outcome(::flock(handle.fd(), LOCK_EX)) == "ok");
    CHECK(elsewhere(LOCK_EX) == "EAGAIN");
    CHECK(elsewhere(LOCK_SH) == "EAGAIN");
    REQUIRE(outcome(::flock(handle.fd(), LOCK_SH)) == "ok");
    CHECK(elsewhere(LOCK_SH) == "ok");
    CHECK(elsewhere(LOCK_EX) == "EAGAIN");
    REQUIRE(outcome(::flock(handle.fd(), LOCK_UN)) == "ok");
    CHECK(elsewhere(LOCK_EX) == "ok");
  });
}

TEST_CASE("flock ends with the file and is not lost by copy-up", "[lock]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1")}).upper();
    stack.mount(system);
    const auto elsewhere = [&] {
      return in_child([&] {
        const File other(stack("f"), O_RDWR);
        return outcome(::flock(other.fd(), LOCK_EX | LOCK_NB));
      });
    };
    File handle(stack("f"), O_RDWR);
    REQUIRE(outcome(::flock(handle.fd(), LOCK_EX)) == "ok");
    REQUIRE(handle.pwrite("2", 0) == "ok");
    REQUIRE(call::chmod(stack("f"), 0600) == "ok");
    CHECK(elsewhere() == "EAGAIN");
    REQUIRE(handle.close() == "ok");
    CHECK(elsewhere() == "ok");
  });
}

TEST_CASE("fcntl locks ranges between processes", "[lock]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "0123456789")}).upper();
    stack.mount(system);
    const auto elsewhere = [&](short type, off_t start, off_t length) {
      return in_child([&] {
        const File other(stack("f"), O_RDWR);
        return lock_range(other, type, start, length);
      });
    };
    const File handle(stack("f"), O_RDWR);
    REQUIRE(lock_range(handle, F_WRLCK, 2, 4) == "ok");
    CHECK(elsewhere(F_WRLCK, 0, 2) == "ok");
    CHECK(elsewhere(F_WRLCK, 6, 0) == "ok");
    CHECK(elsewhere(F_WRLCK, 0, 3) == "EAGAIN");
    CHECK(elsewhere(F_RDLCK, 5, 1) == "EAGAIN");
    REQUIRE(lock_range(handle, F_RDLCK, 2, 4) == "ok");
    CHECK(elsewhere(F_RDLCK, 5, 1) == "ok");
    CHECK(elsewhere(F_WRLCK, 5, 1) == "EAGAIN");
    REQUIRE(lock_range(handle, F_UNLCK, 0, 0) == "ok");
    CHECK(elsewhere(F_WRLCK, 0, 0) == "ok");
  });
}

TEST_CASE("fcntl tells who holds a lock, and drops it when a file of the process is closed",
          "[lock]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "0123456789")}).upper();
    stack.mount(system);
    const File handle(stack("f"), O_RDWR);
    REQUIRE(lock_range(handle, F_WRLCK, 2, 4) == "ok");
    const pid_t self = ::getpid();
    CHECK(in_child([&]() -> std::string {
            const File other(stack("f"), O_RDWR);
            struct flock range = {};
            range.l_type = F_WRLCK;
            if (::fcntl(other.fd(), F_GETLK, &range) != 0) {
              return outcome(-1);
            }
            return range.l_pid == self && range.l_start == 2 && range.l_len == 4 ? "told" : "wrong";
          }) == "told");
    { const File second(stack("f"), O_RDONLY); }
    CHECK(in_child([&] {
            const File other(stack("f"), O_RDWR);
            return lock_range(other, F_WRLCK, 0, 0);
          }) == "ok");
  });
}

TEST_CASE("open file description locks belong to the open file", "[lock]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "0123456789")}).upper();
    stack.mount(system);
    File first(stack("f"), O_RDWR);
    const File second(stack("f"), O_RDWR);
    REQUIRE(lock_range(first, F_WRLCK, 0, 5, F_OFD_SETLK) == "ok");
    CHECK(lock_range(second, F_WRLCK, 4, 5, F_OFD_SETLK) == "EAGAIN");
    CHECK(lock_range(second, F_WRLCK, 5, 5, F_OFD_SETLK) == "ok");
    REQUIRE(first.close() == "ok");
    CHECK(lock_range(second, F_WRLCK, 0, 5, F_OFD_SETLK) == "ok");
  });
}

}  // namespace
}  // namespace plyfs::tests
