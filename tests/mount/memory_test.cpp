// A daemon that gets no more memory refuses requests, and goes on.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "stack.h"

namespace plyfs::tests {
namespace {

constexpr int kDirectories = 60;
constexpr int kFiles = 60;

std::string name_of(int directory, int file) {
  // Long names: each known one takes memory.
  return "d" + std::to_string(directory) + "/" + std::string(200, 'n') + std::to_string(file);
}

void limit_memory(pid_t pid, rlim_t bytes) {
  const rlimit limit{bytes, RLIM_INFINITY};
  REQUIRE(outcome(::prlimit(pid, RLIMIT_AS, &limit, nullptr)) == "ok");
}

rlim_t size_of(pid_t pid) {
  const std::string status = content("/proc/" + std::to_string(pid) + "/status");
  const std::string key = "VmSize:";
  const std::size_t at = status.find(key);
  REQUIRE(at != std::string::npos);
  return std::strtoull(status.c_str() + at + key.size(), nullptr, 10) * 1024;
}

void starve(const Stack& stack, pid_t daemon, rlim_t before) {
  int refused = 0;
  for (const rlim_t room : {rlim_t{0}, rlim_t{256} << 10U, rlim_t{1} << 20U}) {
    limit_memory(daemon, before + room);
    for (int d = 0; d < kDirectories; ++d) {
      for (int f = 0; f < kFiles; f += 7) {
        const std::string result = content(stack(name_of(d, f)));
        CHECK((result == std::to_string(f) || result == "<ENOMEM>"));
        refused += result == "<ENOMEM>" ? 1 : 0;
      }
      const std::string created = call::create(stack("d" + std::to_string(d) + "/new"), "1");
      CHECK((created == "ok" || created == "ENOMEM" || created == "EEXIST"));
      refused += created == "ENOMEM" ? 1 : 0;
    }
  }
  CHECK(refused > 0);
  limit_memory(daemon, RLIM_INFINITY);
  for (int d = 0; d < kDirectories; ++d) {
    for (int f = 0; f < kFiles; ++f) {
      REQUIRE(content(stack(name_of(d, f))) == std::to_string(f));
    }
  }
  CHECK(stack.left_overs() == Picture{});
}

TEST_CASE("without memory requests fail with ENOMEM, and the mount goes on", "[memory]") {
  on(plyfs_only(), [](const System& system) {
    Items items;
    for (int d = 0; d < kDirectories; ++d) {
      for (int f = 0; f < kFiles; ++f) {
        items.push_back(file(name_of(d, f), std::to_string(f)));
      }
    }
    Stack stack = Stack{}.lower(std::move(items)).upper();
    stack.build(system);
    // In the background: it returns when all threads are there. More than one arena would come with
    // 64 MiB of its own.
    std::string options = stack.layer_options();
    options += system.options.empty() ? "" : "," + system.options;
    const std::vector<pid_t> others = children();
    REQUIRE(run({"env", "MALLOC_ARENA_MAX=1", plyfs_program(), "mount", "-o", options,
                 stack.mountpoint()})
                .exit_code == 0);
    pid_t daemon = -1;
    for (const pid_t pid : children()) {
      daemon = std::find(others.begin(), others.end(), pid) == others.end() ? pid : daemon;
    }
    REQUIRE(daemon > 0);
    constexpr rlim_t kSanitizer = rlim_t{1} << 40U;
    const rlim_t before = size_of(daemon);
    if (before > kSanitizer) {
      skip("a sanitizer's shadow memory leaves no room for a limit");
    } else {
      starve(stack, daemon, before);
    }
    CHECK(outcome(is_root() ? ::umount2(stack.mountpoint().c_str(), 0) : 0) == "ok");
    CHECK((is_root() || run({"fusermount3", "-u", stack.mountpoint()}).exit_code == 0));
    CHECK(wait_for(daemon, 60) == 0);
  });
}

}  // namespace
}  // namespace plyfs::tests
