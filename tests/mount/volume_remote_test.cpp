// Volumes on a filesystem of another machine: sshfs, whose other machine is an SFTP server that
// runs here beside it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <set>

#include "volumes.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr const char* kServer = "/usr/lib/openssh/sftp-server";
constexpr int kEnd_s = 60;  // a limit for hangs only

std::string lacking() {
  if (run({"which", "sshfs"}).exit_code != 0) {
    return "needs sshfs";
  }
  return exists(kServer) ? "" : std::string{"needs openssh-sftp-server: "} + kServer;
}

/// A directory of the "other machine" and where this one sees it.
class Remote {
 public:
  explicit Remote(const Items& items) : far_(items) {
    const std::string ssh = wrap_("ssh");
    REQUIRE(call::create(ssh, std::string{"#!/bin/sh\nexec "} + kServer + "\n", 0755) == "ok");
    REQUIRE(call::mkdir(near()) == "ok");
    const std::vector<pid_t> before = children();
    const Ran ran = run({"sshfs", "-o", "ssh_command=" + ssh, "there:" + far_(), near()});
    INFO(ran.err);
    REQUIRE(ran.exit_code == 0);
    for (const pid_t pid : children()) {
      if (std::find(before.begin(), before.end(), pid) == before.end()) {
        daemon_ = pid;
        guard_daemon(pid);
      }
    }
  }
  ~Remote() {
    (void)run({"fusermount3", "-uz", near()});
    if (daemon_ > 0) {
      (void)::kill(daemon_, SIGTERM);
      (void)wait_for(daemon_, kEnd_s);
      release_daemon(daemon_);
    }
  }
  Remote(const Remote&) = delete;
  Remote& operator=(const Remote&) = delete;

  [[nodiscard]] std::string far(const std::string& path) const { return far_(path); }
  [[nodiscard]] std::string near() const { return wrap_("near"); }
  [[nodiscard]] bool serves() const { return call::stat(near()) == "ok"; }
  void die() {
    (void)::kill(daemon_, SIGKILL);
    (void)wait_for(daemon_, kEnd_s);
    release_daemon(daemon_);
    daemon_ = -1;
  }

 private:
  HostDirectory far_;
  HostDirectory wrap_;
  pid_t daemon_ = -1;
};

class Listing {
 public:
  explicit Listing(const std::string& path) : stream_(::opendir(path.c_str())) {}
  ~Listing() {
    if (stream_ != nullptr) {
      (void)::closedir(stream_);
    }
  }
  Listing(const Listing&) = delete;
  Listing& operator=(const Listing&) = delete;

  void read(int most) {
    for (; most > 0 && stream_ != nullptr; --most) {
      const dirent* const entry = ::readdir(stream_);
      if (entry == nullptr) {
        return;
      }
      names_.insert(entry->d_name);
    }
  }
  [[nodiscard]] const std::multiset<std::string>& names() const { return names_; }

 private:
  DIR* stream_;
  std::multiset<std::string> names_;
};

TEST_CASE("a volume may lie on another machine, by sshfs", "[volume][source][remote]") {
  on(volume_modes(), [](const System& system) {
    const std::string lack = lacking();
    if (!lack.empty()) {
      return skip(lack);
    }
    const Remote remote({file("f", "1"), dir("d"), symlink("link", "f")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(remote.near(), "/v") + "," + volume(remote.near(), "/ro", "ro"));
    CHECK(joined({content(stack("v/f")), content(stack("v/link"))}) == "1 1");
    CHECK(joined({call::append(stack("v/f"), "2"), call::create(stack("v/n"), "n", 0600),
                  call::mkdir(stack("v/d/e")), call::rename(stack("v/n"), stack("v/d/e/m")),
                  call::symlink("x", stack("v/s")), call::chmod(stack("v/f"), 0640),
                  call::truncate(stack("v/f"), 1), call::append(stack("v/f"), "3"),
                  call::unlink(stack("v/link"))}) == "ok ok ok ok ok ok ok ok ok");
    CHECK(picture(remote.far("")) == Picture{"d/", "d/e/", "d/e/m=n", "f=13", "s->x"});
    CHECK((status(remote.far("f")).st_mode & 07777) == 0640);
    CHECK(call::setxattr(stack("v/f"), "user.x", "1") == "EOPNOTSUPP");
    CHECK(joined({call::append(stack("ro/f"), "4"), call::create(stack("ro/n"))}) == "EROFS EROFS");
    const std::string large = pattern(3'000'000);
    {
      File written(stack("v/large"), O_WRONLY | O_CREAT);
      CHECK(written.write(large) == "ok");
      CHECK((File(remote.near() + "/large", O_RDONLY).read_all() == large));
      CHECK(written.close() == "ok");
      CHECK((File(remote.far("large"), O_RDONLY).read_all() == large));
      CHECK(joined({call::truncate(stack("v/large"), 0), call::append(stack("v/large"), large)}) ==
            "ok ok");
      CHECK((File(remote.far("large"), O_RDONLY).read_all() == large));
    }
    CHECK((File(stack("v/large"), O_RDONLY).read_all() == large));
  });
}

TEST_CASE("who opens a file of another machine sees what was closed there before",
          "[volume][source][remote]") {
  on(served_volumes(), [](const System& system) {
    const std::string lack = lacking();
    if (!lack.empty()) {
      return skip(lack);
    }
    const Remote remote({file("f", "first"), file("g", "first")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(remote.near(), "/v"));
    CHECK(joined({content(stack("v/f")), content(stack("v/g"))}) == "first first");
    CHECK(call::append(stack("v/g"), "!") == "ok");
    CHECK(joined({call::overwrite(remote.far("f"), "other"),
                  call::overwrite(remote.far("g"), "others")}) == "ok ok");
    CHECK(joined({content(stack("v/f")), content(stack("v/g"))}) == "other others");
  });
}

TEST_CASE("large directories of another machine are listed whole, by many at once",
          "[volume][source][remote]") {
  on(volume_modes(), [](const System& system) {
    const std::string lack = lacking();
    if (!lack.empty()) {
      return skip(lack);
    }
    Items items;
    for (int number = 0; number < 3000; ++number) {
      items.push_back(file("d/a name of some length " + std::to_string(number)));
    }
    const Remote remote(items);
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(remote.near(), "/v"));
    CHECK(names_in(stack("v/d")).size() == 3000);
    // More than the descriptors that are kept for those who read on.
    std::vector<std::unique_ptr<Listing>> listings;
    for (int reader = 0; reader < 40; ++reader) {
      listings.push_back(std::make_unique<Listing>(stack("v/d")));
      listings.back()->read(100);
    }
    for (const auto& listing : listings) {
      listing->read(10'000);
      CHECK(listing->names().size() == 3002);
      CHECK(std::set<std::string>(listing->names().begin(), listing->names().end()).size() == 3002);
    }
    CHECK(remote.serves());
  });
}

TEST_CASE("another machine that goes away gives errors, and the rest goes on",
          "[volume][source][remote]") {
  on(volume_modes(), [](const System& system) {
    const std::string lack = lacking();
    if (!lack.empty()) {
      return skip(lack);
    }
    Remote remote({file("f", "1")});
    Stack stack = Stack{}.lower({file("g", "2")}).upper();
    stack.mount(system, volume(remote.near(), "/v"));
    const File open(stack("v/f"), O_RDONLY);
    CHECK(open.pread(0, 1) == "1");
    remote.die();
    CHECK(call::stat(stack("v/f")) == "ENOTCONN");
    CHECK(call::create(stack("v/n")) == "ENOTCONN");
    CHECK(joined({content(stack("g")), call::create(stack("n"))}) == "2 ok");
  });
}

}  // namespace
}  // namespace plyfs::tests
