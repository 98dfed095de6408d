// How many messages the kernel sends for what is done in a served volume, which is what it costs.
// Decisions D-033 and D-039 say why these.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "messages.h"
#include "volumes.h"

namespace plyfs::tests {
namespace {

TEST_CASE("a stat in a volume is one message for each name, and one", "[volume][messages]") {
  on(served_volumes(), [](const System& system) {
    const HostDirectory host({file("f", "1"), file("a/b/f", "2")});
    Stack stack = Stack{}.lower({dir("deep/er/v")}).upper();
    stack.mount(system, volume(host(), "/deep/er/v"));
    const std::string root = stack("deep/er/v");
    // What the union has on the way costs nothing. In the volume's root: two, and once in a timer
    // tick the attributes of the root, by which the kernel decides whether we may search it.
    const Cost shallow = cost_of(stack, [&] { CHECK(call::stat(root + "/f") == "ok"); });
    CHECK(shallow.of("lookup") == kTimes);
    CHECK(shallow.of("getattr") >= kTimes);
    CHECK(shallow.of("getattr") <= kTimes + shallow.ticks);
    CHECK(shallow.all() == shallow.of("lookup") + shallow.of("getattr"));
    // Any directory on the way may be another one by now, so each name is asked for.
    const Cost deep = cost_of(stack, [&] { CHECK(call::stat(root + "/a/b/f") == "ok"); });
    CHECK(deep.of("lookup") == 3 * kTimes);
    CHECK(deep.of("getattr") >= kTimes);
    CHECK(deep.of("getattr") <= kTimes + deep.ticks);
    CHECK(deep.all() == deep.of("lookup") + deep.of("getattr"));
    const Cost directory = cost_of(stack, [&] { CHECK(call::stat(root + "/a") == "ok"); });
    CHECK(directory.all() <= kTimes + directory.ticks);
    const Cost absent = cost_of(stack, [&] { CHECK(call::stat(root + "/none") == "ENOENT"); });
    CHECK(absent.of("lookup") == kTimes);
    CHECK(absent.all() <= kTimes + absent.ticks);
    const File inside(root + "/a/b", O_RDONLY | O_DIRECTORY);
    const Cost relative = cost_of(stack, [&] {
      struct stat found {};
      CHECK(outcome(::fstatat(inside.fd(), "f", &found, 0)) == "ok");
    });
    CHECK(relative.of("lookup") == kTimes);
    CHECK(relative.all() <= 2 * kTimes + relative.ticks);
    const File open(root + "/f", O_RDONLY);
    const Cost by_descriptor = cost_of(stack, [&] { CHECK(open.stat().st_size == 1); });
    CHECK(by_descriptor.told() == "getattr 200");
  });
}

TEST_CASE("reads and writes in a volume are one message each", "[volume][messages]") {
  on(served_volumes(), [](const System& system) {
    const HostDirectory host({file("f", std::string(8192, 'x')), file("log")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(host(), "/v"));
    const File reader(stack("v/f"), O_RDONLY);
    const Cost cached = cost_of(stack, [&] { CHECK(reader.pread(0, 4096).size() == 4096); });
    CHECK(cached.told() == "getattr 200");  // whether it changed
    if (!kernel_is_at_least(6, 6)) {
      return skip("needs Linux 6.6: files past the page cache that may be mapped");
    }
    File writer(stack("v/f"), O_RDWR);
    const Cost read = cost_of(stack, [&] { CHECK(writer.pread(4000, 4096).size() == 4096); });
    CHECK(read.told() == "read 200");
    const std::string odd(5000, 'o');  // crosses a page
    const Cost written = cost_of(stack, [&] { CHECK(writer.pwrite(odd, 100) == "ok"); });
    CHECK(written.told() == "write 200");
    File log(stack("v/log"), O_WRONLY | O_APPEND);
    const Cost appended = cost_of(stack, [&] { CHECK(log.write(odd) == "ok"); });
    CHECK(appended.told() == "write 200");
    // N-41: whole up to 1 MiB from pages of one's own; a page less from anywhere.
    constexpr std::size_t kMiB = std::size_t{1} << 20U;
    void* const pages =
        ::mmap(nullptr, 2 * kMiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    const char* const bytes = static_cast<const char*>(pages);
    const auto messages_of = [&](std::string_view data) {
      return cost_of(stack,
                     [&] {
                       CHECK(outcome(::ftruncate(log.fd(), 0)) == "ok");
                       CHECK(log.write(data) == "ok");
                     })
                 .of("write") /
             kTimes;
    };
    CHECK(messages_of({bytes, kMiB}) == 1);
    CHECK(messages_of({bytes + 1, kMiB - 4096}) == 1);
    CHECK(messages_of({bytes + 1, kMiB}) == 2);
    CHECK(outcome(::munmap(pages, 2 * kMiB)) == "ok");
  });
}

}  // namespace
}  // namespace plyfs::tests
