// How many messages the kernel sends for what is done in the union. What is not here has been paid
// for at one time or another: these numbers are the floor under the figures of the manual.
#include "messages.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace plyfs::tests {
namespace {

const char* const kOneWorker = "threads=1,uring=off";

constexpr int kDirectories = 5;

Items many_files(int count) {
  Items items;
  for (int d = 0; d < kDirectories; ++d) {
    for (int i = 0; i < count; ++i) {
      items.push_back(file("d" + std::to_string(d) + "/f" + std::to_string(i), "1"));
    }
  }
  return items;
}

TEST_CASE("what is known costs no message", "[messages]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "1")}).upper();
    stack.mount(system, kOneWorker);
    const std::string known = stack("d/f");
    const Cost known_names = least_cost_of(stack, [&] { CHECK(call::stat(known) == "ok"); });
    CHECK(known_names.told().empty());
    const Cost absent_names =
        least_cost_of(stack, [&] { CHECK(call::stat(stack("d/none")) == "ENOENT"); });
    CHECK(absent_names.told().empty());
    const Cost opens = least_cost_of(stack, [&] { const File opened(known, O_RDWR); });
    CHECK(opens.told().empty());
    const File reader(known, O_RDONLY);
    CHECK(reader.pread(0, 1) == "1");
    const Cost reads = least_cost_of(stack, [&] { CHECK(reader.pread(0, 1) == "1"); });
    CHECK(reads.told().empty());
  });
}

TEST_CASE("a small new file is five messages, of which none is sent for opening or closing",
          "[messages]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({dir("d")}).upper();
    stack.mount(system, kOneWorker);
    { const File opened(stack("first"), O_RDWR | O_CREAT); }
    { const File opened(stack("first"), O_RDWR); }  // now the kernel knows that opens take none
    int next = 0;
    const Cost made = least_cost_of(stack, [&] {
      let_clock_tick();  // in the middle it would be one more message, of the new times
      File opened(stack("d/" + std::to_string(next++)), O_WRONLY | O_CREAT | O_EXCL);
      CHECK(opened.write("12345") == "ok");
    });
    CHECK(made.of("lookup") == kTimes);
    CHECK(made.of("create") == kTimes);
    CHECK(made.of("write") == kTimes);
    // Whether it has capabilities to be cleared.
    CHECK(made.of("getxattr") == kTimes);
    // The directory's: its permissions, after each change of it.
    CHECK(made.of("getattr") <= kTimes + 1);
    INFO(made.told());
    // Not counted: its time, where the clock went on between its creation and its first write.
    CHECK(made.all() - made.of("setattr") <= 5 * kTimes + 1);
    const Cost gone = least_cost_of(
        stack, [&] { CHECK(call::unlink(stack("d/" + std::to_string(--next))) == "ok"); });
    INFO(gone.told());
    CHECK(gone.of("unlink") == kTimes);
    // Its times, which the kernel kept, and the directory's permissions.
    CHECK(gone.of("setattr") <= kTimes);
    CHECK(gone.of("getattr") <= kTimes + 1);
    // Of names that somebody dropped meanwhile it asks again.
    const int others = gone.of("forget") + gone.of("batch_forget") + gone.of("lookup");
    CHECK(gone.all() - others <= 3 * kTimes + 1);
  });
}

TEST_CASE("a new file's first write takes no message for its time", "[messages]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({dir("d")}).upper();
    stack.mount(system, kOneWorker);
    { const File opened(stack("first"), O_RDWR | O_CREAT); }
    { const File opened(stack("first"), O_RDWR); }
    int next = 0;
    int setattrs = kTimes;
    // The clock goes on between some of them, and wherever on the machine a file gets its own time.
    for (int tries = 0; tries < 5; ++tries) {
      const Cost made = cost_of(stack, [&] {
        File opened(stack("d/" + std::to_string(next++)), O_WRONLY | O_CREAT | O_EXCL);
        CHECK(opened.write("12345") == "ok");
      });
      setattrs = std::min(setattrs, made.of("setattr"));
    }
    CHECK(setattrs <= kTimes / 2);
  });
}

TEST_CASE("a cold listing with attributes is two messages for a directory", "[messages]") {
  on(plyfs_only(), [](const System& system) {
    if (!kernel_is_at_least(6, 16)) {
      return skip("needs Linux 6.16: directories that are read by more than a page at a time");
    }
    constexpr int kFiles = 50;
    Stack stack = Stack{}.lower(many_files(kFiles)).upper();
    stack.mount(system, kOneWorker);
    const Messages before = counted(stack());
    for (const std::string& name : names_in(stack("d0"))) {
      CHECK(call::stat(stack("d0/" + name)) == "ok");
    }
    Cost cold = difference(before, counted(stack()));
    for (int i = 1; i < kDirectories; ++i) {  // as least_cost_of()
      const Messages so_far = counted(stack());
      const std::string directory = "d" + std::to_string(i);
      for (const std::string& name : names_in(stack(directory))) {
        CHECK(call::stat(stack(directory + '/' + name)) == "ok");
      }
      const Cost next = difference(so_far, counted(stack()));
      cold = next.all() < cold.all() ? next : cold;
    }
    INFO(cold.told());
    CHECK(cold.of("readdirplus") + cold.of("readdir") == 2);
    CHECK(cold.of("getattr") <= 2);
    CHECK(cold.of("lookup") <= 1);  // the directory itself
  });
}

}  // namespace
}  // namespace plyfs::tests
