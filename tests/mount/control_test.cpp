// The control channel of a live mount, as plyfs-dump uses it.
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
    CHECK(contains(text.out, "copied up              1 files"));
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
