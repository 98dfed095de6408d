// Many layers, long options, many inodes with few descriptors.
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stack.h"

namespace plyfs::tests {
namespace {

TEST_CASE("500 layers, whose options are longer than a page", "[scale]") {
  on(plyfs_only(), [](const System& system) {
    constexpr int kLayers = 500;
    std::vector<Items> layers;
    Picture expected = {"d/"};
    for (int number = 0; number < kLayers; ++number) {
      const std::string digits = std::to_string(1000 + number);
      Items items = {file("d/" + digits, digits), file("all", digits)};
      if (number == 100) {
        items.push_back(whiteout("hidden"));
      }
      if (number == 400) {
        items.push_back(file("hidden", "below the whiteout"));
      }
      layers.push_back(items);
      expected.push_back("d/" + digits + "=" + digits);
    }
    Stack stack = Stack{}.lowers(layers).upper();
    expected.insert(expected.begin(), "all=1000");
    stack.mount(system);
    CHECK(stack.layer_options().size() > 4096);
    CHECK((picture(stack()) == expected));
    CHECK(call::stat(stack("hidden")) == "ENOENT");
    CHECK(call::append(stack("d/1499"), "+") == "ok");
    CHECK(call::unlink(stack("all")) == "ok");
    stack.remount();
    CHECK(content(stack("d/1499")) == "1499+");
    CHECK(call::stat(stack("all")) == "ENOENT");
  });
}

/// For processes started while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &old_) == 0);
    const rlimit low = {limit, limit};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  }
  ~DescriptorLimit() { (void)::setrlimit(RLIMIT_NOFILE, &old_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit old_ = {};
};

constexpr int kDirectories = 600;
constexpr int kFilesEach = 500;

void make_many_files(const std::string& root) {
  for (int directory = 0; directory < kDirectories; ++directory) {
    const std::string path = root + "/" + std::to_string(directory);
    REQUIRE(call::mkdir(path) == "ok");
    const File opened(path, O_RDONLY | O_DIRECTORY);
    for (int number = 0; number < kFilesEach; ++number) {
      const int fd =
          ::openat(opened.fd(), std::to_string(number).c_str(), O_WRONLY | O_CREAT, 0644);
      REQUIRE(fd >= 0);
      ::close(fd);
    }
  }
}

/// How many files are there whose attributes can be had.
int files_below(const std::string& root) {
  int found = 0;
  for (const std::string& directory : names_in(root)) {
    const File opened(root + "/" + directory, O_RDONLY | O_DIRECTORY);
    for (const std::string& name : names_in(root + "/" + directory)) {
      struct stat file = {};
      found += ::fstatat(opened.fd(), name.c_str(), &file, 0) == 0 && S_ISREG(file.st_mode) ? 1 : 0;
    }
  }
  return found;
}

TEST_CASE("300,000 inodes are known at once by a daemon that may open 256 files",
          "[scale][slow][root]") {
  on(plyfs_only(), [](const System& system) {
    if (!is_root()) {
      return skip("needs root: lowering a hard limit and raising it again");
    }
    Items lower;  // a second part of every directory
    for (int directory = 0; directory < kDirectories; ++directory) {
      lower.push_back(file("many/" + std::to_string(directory) + "/low", "low"));
    }
    Stack stack = Stack{}.lower(lower).upper({dir("many")});
    stack.build(system);
    make_many_files(stack.upper_path("many"));
    {
      const DescriptorLimit limit{256};
      stack.mount(system);
    }
    constexpr int kAll = kDirectories * (kFilesEach + 1);
    CHECK(files_below(stack("many")) == kAll);
    CHECK(files_below(stack("many")) == kAll);  // all of them known by now
    for (int directory = 0; directory < kDirectories; directory += 7) {
      const std::string path = stack("many/" + std::to_string(directory));
      CHECK(call::append(path + "/1", "changed") == "ok");
      CHECK(call::append(path + "/low", "+") == "ok");
      CHECK(content(path + "/1") == "changed");
      CHECK(content(path + "/low") == "low+");
    }
    CHECK(names_in("/proc/" + std::to_string(stack.daemon()) + "/fd").size() <= 256);
  });
}

}  // namespace
}  // namespace plyfs::tests
