// Data is copied whole, and holes stay holes.
#include "copyup/data_copy.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>

#include "catch.h"
#include "child.h"
#include "workspace.h"

namespace plyfs::copyup {
namespace {

std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

struct Pair {
  test::Workspace space;
  std::string from_path = space.path("from");
  std::string to_path = space.path("to");
  sys::UniqueFd from{::open(from_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  sys::UniqueFd to{::open(to_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
  layer::UpperWriter writer{layer::UpperWriter::Rights::kPrivileged};

  void put(const std::string& data, off_t at) {
    REQUIRE(::pwrite(from.borrow().get(), data.data(), data.size(), at) ==
            static_cast<ssize_t>(data.size()));
  }
  SyncFollows sync = SyncFollows::kNo;

  Status copy(std::int64_t size) {
    return copy_data(writer, from.borrow(), to.borrow(), size, sync);
  }
};

TEST_CASE("bytes between, before and behind holes are copied, holes are not", "[copyup]") {
  Pair files;
  files.sync = GENERATE(SyncFollows::kNo, SyncFollows::kYes);
  const off_t size = off_t{8} << 20U;
  REQUIRE(::ftruncate(files.from.borrow().get(), size) == 0);
  files.put("in the middle", off_t{3} << 20U);
  files.put("almost at the end", size - 100'000);
  REQUIRE(files.copy(size));
  CHECK((content_of(files.to_path) == content_of(files.from_path)));
  struct stat from = {};
  struct stat to = {};
  REQUIRE(::stat(files.from_path.c_str(), &from) == 0);
  REQUIRE(::stat(files.to_path.c_str(), &to) == 0);
  CHECK(to.st_size == size);
  if (from.st_blocks > 2048) {
    return test::skip("needs a filesystem with holes");
  }
  CHECK(to.st_blocks <= 2048);
}

TEST_CASE("only as much is copied as is asked for", "[copyup]") {
  for (const std::int64_t wanted : {0, 1, 4095, 4097, 9999, 10'000}) {
    Pair files;
    files.put(std::string(10'000, 'x'), 0);
    REQUIRE(files.copy(wanted));
    CAPTURE(wanted);
    CHECK((content_of(files.to_path) == std::string(static_cast<std::size_t>(wanted), 'x')));
  }
}

TEST_CASE("a copy that goes to the disk in pieces is whole", "[copyup]") {
  Pair files;
  files.sync = SyncFollows::kYes;
  std::string data(std::size_t{10'000'001}, '\0');
  for (std::size_t at = 0; at < data.size(); ++at) {
    data[at] = static_cast<char>('a' + at % 25);
  }
  files.put(data, 0);
  files.put(data, off_t{64} << 20U);
  const auto size = static_cast<std::int64_t>((off_t{64} << 20U) + off_t{9'000'000});
  REQUIRE(files.copy(size));
  const std::string copied = content_of(files.to_path);
  REQUIRE(copied.size() == static_cast<std::size_t>(size));
  CHECK((copied == content_of(files.from_path).substr(0, copied.size())));
}

TEST_CASE("a source that cannot be read is an error", "[copyup]") {
  Pair files;
  files.put("x", 0);
  files.from = sys::UniqueFd{::open(files.from_path.c_str(), O_WRONLY | O_CLOEXEC)};
  CHECK_FALSE(files.copy(1));
}

TEST_CASE("a write that stops halfway is told by the error that stopped it", "[copyup]") {
  Pair files;
  files.put(std::string(4000, 'x'), 0);
  const auto result = test::in_child(
      [] {
        const rlimit limit = {1000, 1000};
        return std::signal(SIGXFSZ, SIG_IGN) != SIG_ERR && ::setrlimit(RLIMIT_FSIZE, &limit) == 0;
      },
      [&] {
        const Status copied = files.copy(4000);
        return copied ? "ok" : std::to_string(copied.error().value());
      });
  CHECK(result == std::to_string(EFBIG));
}

}  // namespace
}  // namespace plyfs::copyup
