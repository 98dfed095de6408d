// plyfs-bench-mirror: a floor that is reached by answering wrongly would be none.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "call.h"
#include "catch.h"
#include "process.h"
#include "skip.h"
#include "system.h"
#include "tree.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

namespace fs = std::filesystem;

std::string mirror_program() {
  return fs::path{plyfs_program()}.parent_path() / "bench/plyfs-bench-mirror";
}

/// A directory, and the mirror of it while this lives.
class Mirrored {
 public:
  explicit Mirrored(const std::string& options) : root_(fresh_directory()) {
    fs::create_directory(source());
    fs::create_directory(seen());
    make_tree(source(), {file("old/f", "below"), dir("old/d"), symlink("old/l", "f")}, "user.");
    const std::vector<pid_t> before = children();
    const Ran started = run({mirror_program(), "-o", options, source(), seen()});
    INFO(started.err);
    REQUIRE(started.exit_code == 0);  // it serves now
    for (const pid_t child : children()) {
      if (std::find(before.begin(), before.end(), child) == before.end()) {
        pid_ = child;
      }
    }
    guard_daemon(pid_);
  }
  ~Mirrored() {
    unmount();
    remove_tree(root_);
  }
  Mirrored(const Mirrored&) = delete;
  Mirrored& operator=(const Mirrored&) = delete;

  [[nodiscard]] std::string source() const { return root_ + "/source"; }
  [[nodiscard]] std::string seen() const { return root_ + "/seen"; }
  /// The daemon's exit code.
  int unmount() {
    if (pid_ == 0) {
      return 0;
    }
    (void)run({is_root() ? "umount" : "fusermount3", is_root() ? "-l" : "-uz", seen()});
    const int code = wait_for(pid_, 20);
    release_daemon(pid_);
    pid_ = 0;
    return code;
  }

 private:
  std::string root_;
  pid_t pid_ = 0;
};

std::string written(int fd, const std::string& bytes, off_t at) {
  const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), at);
  return outcome(put == static_cast<ssize_t>(bytes.size()) ? 0 : -1);
}

/// Every verb, with what each answers.
std::vector<std::string> change_everything(const std::string& root) {
  std::vector<std::string> said;
  const auto say = [&](long result) { said.push_back(outcome(result)); };
  const auto at = [&](const std::string& path) { return root + "/" + path; };
  say(::mkdir(at("new").c_str(), 0755));
  say(::mkfifo(at("new/p").c_str(), 0600));
  say(::symlink("over there", at("new/l").c_str()));
  const int made = ::open(at("new/f").c_str(), O_RDWR | O_CREAT | O_EXCL, 0400);
  said.push_back(written(made, std::string(100'000, 'x'), 0));
  const timespec times[] = {kOldTime, kOldTime};
  say(::futimens(made, times));  // before the data leaves the page cache
  say(::fchmod(made, 04750));
  say(::close(made));
  say(::open(at("new/f").c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  say(::link(at("new/f").c_str(), at("new/g").c_str()));
  say(::unlink(at("new/f").c_str()));
  say(::rename(at("new/g").c_str(), at("h").c_str()));
  say(::rename(at("old/d").c_str(), at("new/d").c_str()));
  say(::mkdir(at("new/d/inner").c_str(), 0700));
  say(::rmdir(at("new/d").c_str()));
  say(::truncate(at("old/f").c_str(), 3));
  say(::unlink(at("old/absent").c_str()));
  say(::setxattr(at("old/f").c_str(), "user.k", "v", 1, 0));
  say(::getxattr(at("old/f").c_str(), "user.absent", nullptr, 0));
  const int open = ::open(at("old/f").c_str(), O_RDWR);
  say(::rename(at("h").c_str(), at("old/f").c_str()));  // over an open file
  said.push_back(written(open, "y", 5));
  char bytes[7] = {};
  said.emplace_back(bytes, static_cast<std::size_t>(::pread(open, bytes, sizeof bytes, 0)));
  say(::fsync(open));
  say(::close(open));
  const int holes = ::open(at("holes").c_str(), O_RDWR | O_CREAT, 0644);
  said.push_back(written(holes, "z", 1 << 20));
  said.push_back(std::to_string(::lseek(holes, 0, SEEK_DATA)));
  say(::close(holes));
  for (int i = 0; i < 500; ++i) {
    const std::string name = at("new/many-files-with-names-" + std::to_string(i));
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT, 0644);
    said.push_back(written(fd, std::to_string(i), 0));
    (void)::close(fd);
  }
  return said;
}

void check_mirror(const std::string& options) {
  if (!fs::exists(mirror_program())) {
    return skip(mirror_program() + " is not built");
  }
  const std::string plain = fresh_directory();
  make_tree(plain, {file("old/f", "below"), dir("old/d"), symlink("old/l", "f")}, "user.");
  Mirrored mirrored{options};
  CHECK(difference(full_dump(mirrored.source()), full_dump(mirrored.seen())).empty());

  CHECK(change_everything(mirrored.seen()) == change_everything(plain));
  CHECK(difference(dump_without_times(plain), dump_without_times(mirrored.seen())).empty());
  const Dump seen = full_dump(mirrored.seen());
  const Dump listed = full_dump(mirrored.seen());  // now by what the kernel knows
  CHECK(difference(seen, listed).empty());
  CHECK(mirrored.unmount() == 0);
  CHECK(difference(seen, full_dump(mirrored.source())).empty());
  remove_tree(plain);
}

TEST_CASE("the benchmark's mirror shows, and leaves, what a plain directory would", "[mirror]") {
  SECTION("read from the device") { check_mirror("uring=off"); }
  SECTION("over io_uring where the kernel offers it") { check_mirror("uring=on"); }
}

}  // namespace
}  // namespace plyfs::tests
