// The control channel of a live mount, as plyfs-dump uses it.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

std::string socket_directory() {
  if (is_root()) {
    return "/run/plyfs";
  }
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  return runtime != nullptr && std::filesystem::is_directory(std::string{runtime} + "/plyfs")
             ? std::string{runtime} + "/plyfs"
             : "/tmp/plyfs-" + std::to_string(::geteuid());
}

std::string socket_of(pid_t daemon) {
  const std::string end = "-" + std::to_string(daemon) + ".sock";
  for (const auto& entry : std::filesystem::directory_iterator{socket_directory()}) {
    if (entry.path().string().ends_with(end)) {
      return entry.path();
    }
  }
  return {};
}

Ran dump(Arguments arguments) {
  arguments.insert(arguments.begin(), plyfs_program() + "-dump");
  return run(arguments);
}

/// Sends `text` and returns what comes back, to the end.
std::string talk(const std::string& path, const std::string& text) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    answer = std::strerror(errno);
  } else {
    (void)::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      answer.append(buffer, static_cast<std::size_t>(got));
    }
  }
  (void)::close(fd);
  return answer;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a live mount tells its stack to its own user", "[control]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "1")}).lower({file("d/f", "22"), file("g")}).upper();
    stack.mount(system);
    const std::string answer = talk(socket_of(stack.daemon()), "{\"request\":\"describe\"}\n");
    CHECK(contains(answer, "{\"ok\":true,\"schema\":1,\"plyfs\":\"describe\""));
    CHECK(contains(answer, "\"mountpoint\":\"" + stack() + "\""));
    CHECK(contains(
        answer, "{\"layer\":0,\"role\":\"upper\",\"directory\":\"" + stack.upper_path() + "\"}"));
    CHECK(contains(
        answer, "{\"layer\":2,\"role\":\"lower\",\"directory\":\"" + stack.lower_path(1) + "\"}"));
    CHECK(contains(answer, "\"name\":\"whiteout\",\"value\":\"char\""));

    // The mount point stands for its stack; what was written through the mount shows.
    CHECK(call::overwrite(stack("d/f"), "new") == "ok");
    const Ran which = dump({stack(), "which", "d/f"});
    CHECK(which.exit_code == 0);
    CHECK(contains(which.out, "/d/f: file, seen in the upper layer\n"));
    CHECK(contains(which.out, "shadowed by the upper layer at /d/f"));
    struct ::stat socket {};
    CHECK(::lstat(socket_of(stack.daemon()).c_str(), &socket) == 0);
    CHECK((socket.st_mode & 0777) == 0600);
    CHECK(::stat(socket_directory().c_str(), &socket) == 0);
    CHECK((socket.st_mode & 0777) == 0700);
  });
}

TEST_CASE("what is no request gets a refusal, and the channel goes on", "[control]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f")}).upper();
    stack.mount(system);
    const std::string path = socket_of(stack.daemon());
    CHECK(contains(talk(path, "nonsense\n"), "\"ok\":false"));
    CHECK(contains(talk(path, "[1,2]\n"), "\"ok\":false"));
    CHECK(contains(talk(path, "{\"request\":\"reboot\"}\n"), "unknown request"));
    CHECK(talk(path, std::string(100000, 'x') + "\n").empty());
    CHECK(contains(talk(path, "{\"request\":\"stats\"}\n"), "\"ok\":true"));
  });
}

TEST_CASE("other users cannot reach the channel", "[control]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root to be another user");
    }
    Stack stack = Stack{}.lower({file("f")}).upper();
    stack.mount(system);
    const std::string path = socket_of(stack.daemon());
    CHECK(as_user(12345, 12345, [&] { return talk(path, "{\"request\":\"describe\"}\n"); }) ==
          "Permission denied");
    // As root of a user namespace of their own they are nobody else.
    CHECK(as_user(12345, 12345, [&] {
            (void)::prctl(PR_SET_DUMPABLE, 1);  // to be owner of its own /proc/self
            if (::unshare(CLONE_NEWUSER) != 0) {
              return std::string{"Permission denied"};  // no such namespaces here
            }
            const int map = ::open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
            (void)!::write(map, "0 12345 1", 9);
            (void)::close(map);
            return ::geteuid() == 0 ? talk(path, "{\"request\":\"describe\"}\n") : "not root there";
          }) == "Permission denied");
  });
}

TEST_CASE("a directory of sockets that another user made is never asked", "[control]") {
  const Watchdog watchdog(60);
  if (!is_root()) {
    return skip("needs root to be two other users");
  }
  constexpr uid_t kVictim = 54321;
  const std::string directory = "/tmp/plyfs-" + std::to_string(kVictim);
  const std::string path = directory + "/0000000000000000-1.sock";
  std::filesystem::remove_all(directory);
  REQUIRE(::mkdir(directory.c_str(), 0777) == 0);
  REQUIRE(::chmod(directory.c_str(), 0777) == 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int trap = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  REQUIRE(::bind(trap, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(trap, 8) == 0);
  REQUIRE(::chmod(path.c_str(), 0666) == 0);
  const auto ask = [&] {
    return as_user(kVictim, kVictim, [&] {
      (void)::unsetenv("XDG_RUNTIME_DIR");
      return dump({"anything", "stats"}).err;
    });
  };
  // Somebody else's; then our own, but open to others.
  for (const uid_t owner : {uid_t{54322}, kVictim}) {
    REQUIRE(::chown(directory.c_str(), owner, owner) == 0);
    CHECK(contains(ask(), "no live mount of yours answers"));
    CHECK(::accept4(trap, nullptr, nullptr, SOCK_CLOEXEC) == -1);
  }
  // The trap works: in a private directory of the user's own it is asked.
  REQUIRE(::chmod(directory.c_str(), 0700) == 0);
  (void)::close(trap);
  CHECK(contains(ask(), "no live mount of yours answers"));
  CHECK_FALSE(std::filesystem::exists(path));  // nobody listens there any more
  std::filesystem::remove_all(directory);
}

TEST_CASE("root of a user namespace has the channel, and its user outside finds it", "[control]") {
  on(plyfs_only(), [](const System& system) {
    if (is_root() || run({"unshare", "-Urm", "true"}).exit_code != 0) {
      return skip("needs a user without privileges, and user namespaces");
    }
    Stack stack = Stack{}.lower({file("d/f", "1")}).upper();
    stack.build(system);
    const std::string mountpoint = stack.mountpoint();
    const std::string asked = plyfs_program() + "-dump " + mountpoint + " which d/f";
    // The daemon lives in the namespace; the command outside is the caller's own.
    const Ran ran = run({"sh", "-c",
                         "mkfifo go; unshare -Urm sh -c '" + plyfs_program() + " mount -o " +
                             stack.layer_options() + " " + mountpoint + " && " + asked +
                             " && echo up >go && cat go >/dev/null; umount " + mountpoint +
                             "' & cat go >/dev/null; " + asked + "; echo end >go; wait"},
                        stack.directory());
    CHECK(ran.err == "");
    const std::string seen = "/d/f: file, seen in layer 1\n";
    CHECK(contains(ran.out, seen));
    CHECK(ran.out.find(seen) != ran.out.rfind(seen));
  });
}

TEST_CASE("the counters of a live mount count", "[control]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "12345"), file("d/g", "1")}).upper();
    stack.mount(system);
    CHECK(call::overwrite(stack("d/f"), "new") == "ok");
    CHECK(content(stack("d/g")) == "1");
    const Ran json = dump({stack(), "--json", "stats"});
    CHECK(json.exit_code == 0);
    CHECK(contains(json.out, "\"operation\": \"lookup\""));
    CHECK(contains(json.out, "\"files\": 1"));
    CHECK(contains(json.out, "\"directories\": 1"));
    const Ran text = dump({stack(), "stats"});
    CHECK(contains(text.out, "copied up              1 file, 0 metadata only"));
    CHECK(contains(text.out, "OPERATION"));
    // Latencies as a histogram: of the lookups all, in buckets that are twice as wide each.
    CHECK(contains(text.out, "\nOF 100 TOOK LESS THAN  "));
    CHECK(contains(text.out, " us"));
    CHECK(contains(json.out, "\"histogram\": ["));
    CHECK(contains(json.out, "\"below_us\": "));
  });
}

TEST_CASE("a socket that a killed daemon left is told from a live one, and removed", "[control]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f")}).upper();
    stack.mount(system);
    const std::string mountpoint = stack();
    const std::string stale = socket_of(stack.daemon());
    CHECK(std::filesystem::exists(stale));
    // From here on whoever of this user asks for a mount may remove it: another test, too.
    stack.crash();
    const Ran ran = dump({mountpoint, "stats"});
    CHECK(ran.exit_code == 2);
    CHECK(contains(ran.err, "plyfs-dump: no live mount of yours answers: " + mountpoint));
    CHECK_FALSE(std::filesystem::exists(stale));
    stack.mount(system);
    CHECK(dump({mountpoint, "stats"}).exit_code == 0);
    const std::string live = socket_of(stack.daemon());
    stack.unmount();
    CHECK_FALSE(std::filesystem::exists(live));
  });
}

}  // namespace
}  // namespace plyfs::tests
