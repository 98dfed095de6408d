// Going to the background: what the waiting process learns.
#include "sys/daemon.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "catch.h"

namespace plyfs::sys {
namespace {

/// Starts a daemon that runs `body` and ends; returns what the parent is told.
Daemon::Report report_of(const std::function<void(Daemon&)>& body) {
  auto started = Daemon::start(InheritedFiles::kClose);
  REQUIRE(started.has_value());
  if (Daemon* const daemon = std::get_if<Daemon>(&*started)) {
    body(*daemon);
    ::_exit(9);  // not the test program's way out
  }
  return std::get<Daemon::Report>(*std::move(started));
}

TEST_CASE("a daemon that is ready lets the caller go with 0", "[daemon]") {
  const Daemon::Report report = report_of([](Daemon& daemon) { (void)daemon.ready(); });
  CHECK_FALSE(report.lost);
  CHECK(report.exit_code == 0);
  CHECK(report.message.empty());
}

TEST_CASE("a daemon that fails hands over its exit code and the whole message", "[daemon]") {
  const std::string long_message(100000, 'x');
  const Daemon::Report report =
      report_of([&](Daemon& daemon) { (void)daemon.fail(long_message, 32); });
  CHECK_FALSE(report.lost);
  CHECK(report.exit_code == 32);
  CHECK(report.message == long_message);
}

TEST_CASE("a daemon that dies is reported with its signal", "[daemon]") {
  const Daemon::Report killed = report_of([](Daemon&) { (void)std::raise(SIGKILL); });
  CHECK(killed.lost);
  CHECK(killed.signal == SIGKILL);
  const Daemon::Report left = report_of([](Daemon&) {});
  CHECK(left.lost);
  CHECK(left.signal == 0);
}

TEST_CASE("a ready daemon holds nothing of its caller: not its directory, output or files",
          "[daemon]") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const int output = ::dup(2);
  REQUIRE(::dup2(ends[1], 2) == 2);  // as a caller that collects stderr, and leaks the pipe too
  auto started = Daemon::start(InheritedFiles::kClose);
  REQUIRE(started.has_value());
  if (Daemon* const daemon = std::get_if<Daemon>(&*started)) {
    struct stat here = {};
    struct stat root = {};
    const bool left = daemon->leave_directory().has_value() && ::stat(".", &here) == 0 &&
                      ::stat("/", &root) == 0 && here.st_ino == root.st_ino;
    const pid_t self = ::getpid();
    const bool told = ::write(2, &self, sizeof self) == sizeof self;
    if (!left || !told || !daemon->ready()) {
      ::_exit(9);
    }
    for (;;) {
      (void)::pause();  // serves until the test is over
    }
  }
  REQUIRE(::dup2(output, 2) == 2);
  (void)::close(output);
  (void)::close(ends[1]);
  CHECK_FALSE(std::get<Daemon::Report>(*started).lost);
  pid_t server = 0;
  REQUIRE(::read(ends[0], &server, sizeof server) == sizeof server);
  char byte = 0;
  CHECK(::read(ends[0], &byte, 1) == 0);  // the end, although the daemon lives
  (void)::close(ends[0]);
  REQUIRE(::kill(server, SIGKILL) == 0);  // it lived until now
  (void)::waitpid(server, nullptr, 0);
}

TEST_CASE("in the foreground nothing is reported, redirected or left", "[daemon]") {
  Daemon daemon = Daemon::in_foreground();
  std::array<char, 4096> before{};
  REQUIRE(::getcwd(before.data(), before.size()) != nullptr);
  CHECK(daemon.leave_directory().has_value());
  CHECK(daemon.ready().has_value());
  CHECK_FALSE(daemon.fail("x", 1));
  std::array<char, 4096> after{};
  REQUIRE(::getcwd(after.data(), after.size()) != nullptr);
  CHECK(std::string{before.data()} == std::string{after.data()});
}

}  // namespace
}  // namespace plyfs::sys
