// Large reads of files in a served volume: their bytes come straight from the file's pages.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "volumes.h"

namespace plyfs::tests {
namespace {

TEST_CASE("large reads are exact, whatever the size and the place", "[volume][read]") {
  on(served_volumes(), [](const System& system) {
    Items items;
    const std::vector<std::size_t> sizes = {65535,   65536,   65537,   100'001,  131'072,
                                            262'143, 1048576, 1048577, 3'000'017};
    for (const std::size_t size : sizes) {
      items.push_back(file("f" + std::to_string(size), pattern(size)));
    }
    items.push_back(file("hole", "x").with_size(1'000'000));
    const HostDirectory host(items);
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(host(), "/v"));
    for (const std::size_t size : sizes) {
      const std::string whole = pattern(size);
      const std::string path = stack("v/f" + std::to_string(size));
      CAPTURE(size);
      CHECK((File(path, O_RDONLY).read_all() == whole));
      for (const int flags : {O_RDONLY, O_RDWR}) {
        const File opened(path, flags);
        for (const std::size_t at : {std::size_t{1}, std::size_t{4095}, size / 2, size - 1}) {
          CHECK((opened.pread(static_cast<off_t>(at), 2'000'000) == whole.substr(at, 2'000'000)));
        }
        CHECK(opened.pread(static_cast<off_t>(size), 100'000).empty());
        CHECK(opened.pread(static_cast<off_t>(size) + 5, 100'000).empty());
      }
    }
    CHECK((File(stack("v/hole"), O_RDWR).read_all() == "x" + std::string(999'999, '\0')));
  });
}

TEST_CASE("a file that shrinks and grows while it is read shows no byte of another one",
          "[volume][read]") {
  on(served_volumes(), [](const System& system) {
    constexpr std::size_t kLarge = 700'000;
    const HostDirectory host(
        {file("f", std::string(kLarge, 'a')), file("g", std::string(kLarge, 'b'))});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(host(), "/v"));
    std::atomic<bool> done{false};
    std::thread writer([&] {
      File beneath(host("f"), O_RDWR);
      for (int i = 0; i < 400; ++i) {
        (void)::ftruncate(beneath.fd(), i * 997 % 300'000);
        (void)beneath.pwrite(std::string(kLarge, 'a'), 0);
      }
      done = true;
    });
    const File whole(stack("v/f"), O_RDWR);
    const File cached(stack("v/f"), O_RDONLY);
    const File still(stack("v/g"), O_RDWR);
    const std::string end_of_page("a\0", 2);  // ftruncate(2) clears it while we look
    std::string wrong;
    while (!done) {
      for (const File* const from : {&whole, &cached}) {
        const std::string seen = from->pread(0, 1 << 20);
        if (seen.size() > kLarge || seen.find_first_not_of(end_of_page) != std::string::npos) {
          wrong = "not what f has";
        }
      }
      if (still.pread(0, 1 << 20) != std::string(kLarge, 'b')) {
        wrong = "not what g has";
      }
    }
    writer.join();
    CHECK(wrong.empty());
    CHECK((whole.pread(0, 1 << 20) == std::string(kLarge, 'a')));
    CHECK((cached.pread(0, 1 << 20) == std::string(kLarge, 'a')));
  });
}

}  // namespace
}  // namespace plyfs::tests
