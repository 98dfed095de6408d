// A staged copy has every attribute of its original, or nothing is left of it.
#include "copyup/engine.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.h"
#include "child.h"
#include "sys/object_stat.h"
#include "sys/open.h"
#include "workspace.h"

namespace plyfs::copyup {
namespace {

constexpr timespec kAtime = {1'000'000'000, 123'456'789};
constexpr timespec kMtime = {1'100'000'000, 987'654'321};

bool is_root() { return ::geteuid() == 0; }

sys::UniqueFd opened_directory(const std::string& path) {
  return sys::UniqueFd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
}

/// An upper, its work directory and something to copy.
class Bench {
 public:
  explicit Bench(const std::string& root = {})
      : root_(root.empty() ? space_.path() : root), source_(opened_directory(make("source"))) {
    (void)make("upper");
    (void)make("work");
    policy.privileges = sys::current_privileges();
    policy.marks = XattrNamespace::kUser;
  }

  /// Opens the work directory; an error where PLYFS_FAIL_AT lies in that.
  Status open() {
    writer_.emplace(layer::UpperWriter::Rights::kPrivileged);
    auto workdir = layer::Workdir::open(opened_directory(root_ + "/work"),
                                        opened_directory(root_ + "/upper"), *writer_);
    if (!workdir) {
      return workdir.error();
    }
    workdir_.emplace(*std::move(workdir));
    engine_.emplace(*workdir_, policy);
    return {};
  }
  [[nodiscard]] std::uint64_t changes() const { return writer_->changes(); }
  Engine& engine() {
    if (!engine_) {
      REQUIRE(open());
    }
    return *engine_;
  }

  [[nodiscard]] std::string original(const std::string& name) const {
    return root_ + "/source/" + name;
  }
  [[nodiscard]] std::string published(const std::string& name) const {
    return root_ + "/upper/" + name;
  }
  [[nodiscard]] bool staging_is_empty() const {
    return std::filesystem::is_empty(root_ + "/work/work");
  }

  Plan plan(const char* name) const {
    Plan plan;
    plan.source = plan.data_source = sys::ObjectRef{source_.borrow(), name};
    const auto stat = sys::stat_object(plan.source);
    REQUIRE(stat);
    plan.stat = *stat;
    plan.data_bytes = stat->size_bytes;
    return plan;
  }
  /// The copy under its name in the upper.
  Status copy(const Plan& plan, const char* name) {
    auto staged = engine().stage(plan);
    if (!staged) {
      return staged.error();
    }
    const sys::UniqueFd upper = opened_directory(root_ + "/upper");
    return staged->entry.publish(upper.borrow(), name, 0);
  }

  Policy policy;

 private:
  std::string make(const std::string& name) const {
    std::filesystem::create_directory(root_ + "/" + name);
    return root_ + "/" + name;
  }
  test::Workspace space_;
  std::string root_;
  sys::UniqueFd source_;
  std::optional<layer::UpperWriter> writer_;
  std::optional<layer::Workdir> workdir_;
  std::optional<Engine> engine_;
};

std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::map<std::string, std::string> xattrs_of(const std::string& path) {
  std::map<std::string, std::string> found;
  std::array<char, 4096> names = {};
  const ssize_t size = ::llistxattr(path.c_str(), names.data(), names.size());
  REQUIRE(size >= 0);
  for (const char* name = names.data(); name < names.data() + size;
       name += std::string_view{name}.size() + 1) {
    std::array<char, 4096> value = {};
    const ssize_t got = ::lgetxattr(path.c_str(), name, value.data(), value.size());
    REQUIRE(got >= 0);
    found[name] = std::string(value.data(), static_cast<std::size_t>(got));
  }
  return found;
}

void set_xattr(const std::string& path, const char* name, const std::string& value) {
  REQUIRE(::lsetxattr(path.c_str(), name, value.data(), value.size(), 0) == 0);
}

struct stat stat_of(const std::string& path) {
  struct stat result = {};
  REQUIRE(::lstat(path.c_str(), &result) == 0);
  return result;
}

/// Owner (as root another than ours), mode and times; in this order, as one takes off the other.
void dress(const std::string& path, mode_t mode) {
  if (is_root()) {
    REQUIRE(::lchown(path.c_str(), 1234, 5678) == 0);
  }
  if (!S_ISLNK(stat_of(path).st_mode)) {
    REQUIRE(::chmod(path.c_str(), mode) == 0);
  }
  const timespec times[2] = {kAtime, kMtime};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

void check_same_attributes(const std::string& original, const std::string& copy) {
  const struct stat from = stat_of(original);
  const struct stat to = stat_of(copy);
  CHECK(to.st_mode == from.st_mode);
  CHECK(to.st_uid == from.st_uid);
  CHECK(to.st_gid == from.st_gid);
  CHECK(to.st_rdev == from.st_rdev);
  CHECK(to.st_mtim.tv_sec == kMtime.tv_sec);
  CHECK(to.st_mtim.tv_nsec == kMtime.tv_nsec);
  if (!S_ISLNK(to.st_mode)) {  // reading a link's target is an access
    CHECK(to.st_atim.tv_sec == kAtime.tv_sec);
    CHECK(to.st_atim.tv_nsec == kAtime.tv_nsec);
  }
}

bool takes_user_xattrs() {
  const test::Workspace space;
  if (::setxattr(space.path().c_str(), "user.probe", "", 0, 0) != 0) {
    test::skip("needs a filesystem with user xattrs");
    return false;
  }
  return true;
}

TEST_CASE("a copied file has data, owner, mode, times and xattrs of its original", "[copyup]") {
  if (!takes_user_xattrs()) {
    return;
  }
  Bench bench;
  const std::string data(300'000, 'd');
  std::ofstream{bench.original("f")} << data;
  set_xattr(bench.original("f"), "user.k", std::string("v\0w", 3));
  set_xattr(bench.original("f"), "user.empty", "");
  set_xattr(bench.original("f"), "user.overlay.nlink", "U+1");      // private: stays behind
  set_xattr(bench.original("f"), "user.overlay.overlay.x", "his");  // a user's own, escaped
  dress(bench.original("f"), 04711);
  Plan plan = bench.plan("f");
  plan.origin = "the origin";
  plan.shown_ino = 4711;
  REQUIRE(bench.copy(plan, "copy"));
  check_same_attributes(bench.original("f"), bench.published("copy"));
  CHECK((content_of(bench.published("copy")) == data));
  auto xattrs = xattrs_of(bench.published("copy"));
  CHECK(xattrs["user.k"] == std::string("v\0w", 3));
  CHECK(xattrs.count("user.empty") == 1);
  CHECK(xattrs.count("user.overlay.nlink") == 0);
  CHECK(xattrs["user.overlay.overlay.x"] == "his");
  CHECK(xattrs["user.overlay.origin"] == "the origin");
  CHECK(xattrs["user.overlay.plyfs.ino"] == "4711");
  CHECK(bench.staging_is_empty());
}

TEST_CASE("objects of every type are copied with their attributes", "[copyup]") {
  Bench bench;
  REQUIRE(::mkdir(bench.original("dir").c_str(), 0755) == 0);
  REQUIRE(::symlink("the/target", bench.original("link").c_str()) == 0);
  REQUIRE(::mkfifo(bench.original("fifo").c_str(), 0600) == 0);
  std::vector<std::string> names = {"dir", "link", "fifo"};
  if (is_root()) {
    REQUIRE(::mknod(bench.original("dev").c_str(), S_IFBLK | 0600, makedev(7, 42)) == 0);
    names.emplace_back("dev");
  }
  for (const std::string& name : names) {
    CAPTURE(name);
    dress(bench.original(name), name == "dir" ? 03751 : 0246);
    REQUIRE(bench.copy(bench.plan(name.c_str()), name.c_str()));
    check_same_attributes(bench.original(name), bench.published(name));
  }
  CHECK(std::filesystem::read_symlink(bench.published("link")) == "the/target");
  CHECK(bench.staging_is_empty());
}

TEST_CASE("a metadata-only copy has size and attributes, a mark, and no data", "[copyup]") {
  if (!takes_user_xattrs()) {
    return;
  }
  Bench bench;
  const std::string data(300'000, 'd');
  std::ofstream{bench.original("f")} << data;
  dress(bench.original("f"), 0640);
  Plan plan = bench.plan("f");
  plan.data = Plan::Data::kLeaveBelow;
  REQUIRE(bench.copy(plan, "copy"));
  const std::string copy = bench.published("copy");
  check_same_attributes(bench.original("f"), copy);
  CHECK(stat_of(copy).st_size == 300'000);
  CHECK(stat_of(copy).st_blocks < 16);
  CHECK(xattrs_of(copy).count("user.overlay.metacopy") == 1);

  // Filled in place.
  if (is_root()) {  // any process with the right may set it; v2, all empty
    set_xattr(copy, "security.capability", std::string("\0\0\0\2", 4) + std::string(16, '\0'));
  }
  const auto before = xattrs_of(copy);
  const sys::UniqueFd upper{::open(copy.c_str(), O_RDWR | O_CLOEXEC)};
  const sys::UniqueFd below{::open(bench.original("f").c_str(), O_RDONLY | O_CLOEXEC)};
  REQUIRE(bench.engine().complete({upper.borrow(), ""}, upper.borrow(), below.borrow(), 300'000,
                                  plan.stat));
  CHECK((content_of(copy) == data));
  auto expected = before;
  expected.erase("user.overlay.metacopy");
  CHECK(xattrs_of(copy) == expected);
  CHECK(stat_of(copy).st_mtim.tv_nsec == kMtime.tv_nsec);
  CHECK(stat_of(copy).st_mode == stat_of(bench.original("f")).st_mode);
}

TEST_CASE("holes stay holes, and only the wanted part of the data is copied", "[copyup]") {
  Bench bench;
  std::ofstream{bench.original("f")} << "begin";
  REQUIRE(::truncate(bench.original("f").c_str(), off_t{8} << 20U) == 0);
  if (stat_of(bench.original("f")).st_blocks > 64) {
    return test::skip("needs a filesystem with holes");
  }
  Plan plan = bench.plan("f");
  REQUIRE(bench.copy(plan, "whole"));
  CHECK(stat_of(bench.published("whole")).st_size == off_t{8} << 20U);
  CHECK(stat_of(bench.published("whole")).st_blocks <= 64);
  plan.data_bytes = 3;
  REQUIRE(bench.copy(plan, "part"));
  CHECK(content_of(bench.published("part")) == "beg");
}

/// Sets the variable while it lives.
class FailAt {
 public:
  explicit FailAt(const std::string& value) { ::setenv("PLYFS_FAIL_AT", value.c_str(), 1); }
  ~FailAt() { ::unsetenv("PLYFS_FAIL_AT"); }
  FailAt(const FailAt&) = delete;
  FailAt& operator=(const FailAt&) = delete;
};

/// Copies with each change of the upper failing in turn. Each time the error is told and nothing is
/// left behind, or (where there is another way to do it) the copy is whole. Returns how often the
/// copy came without the xattr.
int fail_everywhere(int error) {
  int without_xattr = 0;
  for (std::uint64_t at = 1;; ++at) {
    CAPTURE(error, at);
    Bench bench;
    bench.policy.sync = SyncPolicy::kStrict;
    const std::string data(300'000, 'd');
    std::ofstream{bench.original("f")} << data;
    set_xattr(bench.original("f"), "user.k", "v");
    dress(bench.original("f"), 04750);
    Plan plan = bench.plan("f");
    plan.shown_ino = 7;
    {
      const FailAt fail{std::to_string(at) + ":" + std::to_string(error)};
      if (!bench.open()) {
        continue;
      }
    }
    const Status copied = bench.copy(plan, "copy");
    CHECK(bench.staging_is_empty());
    if (!copied) {
      CHECK(copied.error() == error);
      CHECK_FALSE(std::filesystem::exists(bench.published("copy")));
      continue;
    }
    check_same_attributes(bench.original("f"), bench.published("copy"));
    CHECK((content_of(bench.published("copy")) == data));
    const auto xattrs = xattrs_of(bench.published("copy"));
    CHECK(xattrs.count("user.overlay.plyfs.ino") == 1);
    without_xattr += xattrs.count("user.k") == 0 ? 1 : 0;
    if (bench.changes() < at) {
      return without_xattr;  // nothing was left to fail
    }
  }
}

TEST_CASE("a failure at any step of a copy is told, and leaves nothing behind", "[copyup]") {
  if (!takes_user_xattrs()) {
    return;
  }
  for (const int error : {ENOSPC, EDQUOT, EIO, EPERM}) {
    CHECK(fail_everywhere(error) == 0);
  }
  // As the kernel's overlayfs: what the upper's filesystem cannot hold is left out.
  CHECK(fail_everywhere(EOPNOTSUPP) == 1);
}

TEST_CASE("a full filesystem is ENOSPC, and gets its space back", "[copyup]") {
  const test::Workspace space;
  const std::string full = space.make_directory("full");
  const auto outcome = test::in_child(
      [&] {
        return test::enter_own_mounts() &&
               ::mount("full", full.c_str(), "tmpfs", 0, "size=256k") == 0;
      },
      [&]() -> std::string {
        Bench bench{full};
        std::ofstream{bench.original("f")} << std::string(150'000, 'd');
        const auto staged = bench.engine().stage(bench.plan("f"));
        if (staged || staged.error() != ENOSPC || !bench.staging_is_empty()) {
          return staged ? "copied" : staged.error().message();
        }
        REQUIRE(::truncate(bench.original("f").c_str(), 100'000) == 0);
        const Status copied = bench.copy(bench.plan("f"), "copy");
        return copied ? std::to_string(content_of(bench.published("copy")).size())
                      : copied.error().message();
      });
  if (!outcome) {
    return test::skip("needs a mount namespace");
  }
  CHECK(*outcome == "100000");
}

}  // namespace
}  // namespace plyfs::copyup
