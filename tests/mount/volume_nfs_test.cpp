// Volumes on NFS. Who starts the tests says where there is one: PLYFS_TEST_NFS="FAR:NEAR", a
// directory of the server's, which must be this machine, and where it is mounted
// (tests/vm/with-nfs does that).
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "volumes.h"

namespace plyfs::tests {
namespace {

std::pair<std::string, std::string> far_and_near() {
  const char* const told = std::getenv("PLYFS_TEST_NFS");
  const std::string words = told == nullptr ? "" : told;
  const std::size_t colon = words.find(':');
  return colon == std::string::npos ? std::pair<std::string, std::string>{}
                                    : std::pair{words.substr(0, colon), words.substr(colon + 1)};
}

/// The options with which `near` is mounted.
std::string mount_options(const std::string& near) {
  std::ifstream mounts{"/proc/self/mounts"};
  std::string options;
  for (std::string what, where, type, words, rest; mounts >> what >> where >> type >> words;
       std::getline(mounts, rest)) {
    if (where == near) {
      options = words;
    }
  }
  return options;
}

/// A directory of the server's that this machine sees, too.
class Nfs {
 public:
  static std::string missing() {
    return far_and_near().second.empty() ? "needs NFS: PLYFS_TEST_NFS (see tests/vm)" : "";
  }

  explicit Nfs(const Items& items) {
    const auto [far, near] = far_and_near();
    std::string path = near + "/volume-XXXXXX";
    REQUIRE(::mkdtemp(path.data()) != nullptr);
    near_ = path;
    far_ = far + path.substr(near.size());
    REQUIRE(call::chmod(near_, 0755) == "ok");
    make_tree(near_, items, overlay_prefix());
    asks_always_ = mount_options(near).find("acregmax=0") != std::string::npos;
  }
  ~Nfs() { remove_tree(near_); }
  Nfs(const Nfs&) = delete;
  Nfs& operator=(const Nfs&) = delete;

  [[nodiscard]] std::string far(const std::string& path = {}) const { return below(far_, path); }
  [[nodiscard]] std::string near(const std::string& path = {}) const { return below(near_, path); }
  /// actimeo=0: what the server changes is seen by the next look.
  [[nodiscard]] bool asks_always() const { return asks_always_; }
  /// Returns when the server has no names in the directory, those of NFS's own included. A limit
  /// for hangs is the watchdog's.
  void await_empty(const std::string& path = {}) const {
    while (!names_in(far(path)).empty()) {
      std::this_thread::yield();
    }
  }
  /// Returns when nothing is left that NFS has set aside: the daemon may hold what was just deleted
  /// until the kernel has told it to forget.
  void await_no_aside() const {
    const auto aside = [](const std::string& name) { return name.starts_with(".nfs"); };
    for (bool found = true; found; std::this_thread::yield()) {
      const std::vector<std::string> names = names_in(far());
      found = std::any_of(names.begin(), names.end(), aside);
    }
  }

 private:
  static std::string below(const std::string& root, const std::string& path) {
    return path.empty() ? root : root + "/" + path;
  }
  std::string far_;
  std::string near_;
  bool asks_always_ = false;
};

template <typename Body>
void on_nfs(const Body& body) {
  on(volume_modes(), [&](const System& system) {
    if (const std::string lack = Nfs::missing(); !lack.empty()) {
      return skip(lack);
    }
    body(system);
  });
}

TEST_CASE("a volume may lie on NFS", "[volume][source][remote][nfs]") {
  on_nfs([](const System& system) {
    const Nfs nfs({file("f", "1"), dir("d"), symlink("link", "f")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(nfs.near(), "/v") + "," + volume(nfs.near(), "/ro", "ro"));
    CHECK(joined({content(stack("v/f")), content(stack("v/link"))}) == "1 1");
    CHECK(joined({call::append(stack("v/f"), "2"), call::create(stack("v/n"), "n", 0600),
                  call::mkdir(stack("v/d/e")), call::rename(stack("v/n"), stack("v/d/e/m")),
                  call::symlink("x", stack("v/s")), call::chmod(stack("v/f"), 0640),
                  call::truncate(stack("v/f"), 1), call::append(stack("v/f"), "3"),
                  call::link(stack("v/f"), stack("v/g")), call::unlink(stack("v/link"))}) ==
          "ok ok ok ok ok ok ok ok ok ok");
    nfs.await_no_aside();
    CHECK(picture(nfs.far()) == Picture{"d/", "d/e/", "d/e/m=n", "f=13", "g=13", "s->x"});
    CHECK(permissions(nfs.far("f")) == 0640);
    CHECK(joined({call::append(stack("ro/f"), "4"), call::create(stack("ro/n")),
                  call::unlink(stack("ro/f"))}) == "EROFS EROFS EROFS");
    const std::string large = pattern(3'000'000);
    CHECK(call::create(stack("v/large"), large) == "ok");
    CHECK((content(nfs.far("large")) == large));  // close(2) has sent it
    CHECK((content(stack("v/large")) == large));
  });
}

TEST_CASE("what the server changes shows as on NFS itself", "[volume][remote][nfs]") {
  on_nfs([](const System& system) {
    const Nfs nfs({file("f", "1"), file("d/old", "o"), file("gone", "g")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(nfs.near(), "/v"));
    const File early(stack("v/f"), O_RDONLY);
    CHECK(joined({early.read_all(), content(stack("v/d/old")), content(stack("v/gone"))}) ==
          "1 o g");
    CHECK(picture(stack("v")) == picture(nfs.near()));
    CHECK(joined({call::append(nfs.far("f"), "2"), call::create(nfs.far("d/new"), "n"),
                  call::rename(nfs.far("d/old"), nfs.far("d/moved")), call::unlink(nfs.far("gone")),
                  call::create(nfs.far("t"), "another"),
                  call::rename(nfs.far("t"), nfs.far("gone"))}) == "ok ok ok ok ok ok");
    if (!nfs.asks_always()) {
      return skip("needs NFS mounted with actimeo=0: else news come when its caches end");
    }
    const Picture now = {"d/", "d/moved=o", "d/new=n", "f=12", "gone=another"};
    CHECK(picture(stack("v")) == now);
    CHECK(early.stat().st_size == 2);
    CHECK(early.read_all() == "12");
    CHECK(picture(nfs.near()) == now);
  });
}

TEST_CASE("a deleted file of NFS stays with who has it open, and then goes",
          "[volume][remote][nfs]") {
  on_nfs([](const System& system) {
    const Nfs nfs({file("d/f", "1"), file("d/g", "2")});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(nfs.near(), "/v"));
    File by_mount(stack("v/d/f"), O_RDWR);
    File by_host(stack("v/d/g"), O_RDWR);
    CHECK(joined({by_mount.read_all(), by_host.read_all()}) == "1 2");
    CHECK(joined({call::unlink(stack("v/d/f")), call::unlink(nfs.near("d/g"))}) == "ok ok");
    CHECK(joined({call::stat(stack("v/d/f")), call::stat(stack("v/d/g"))}) == "ENOENT ENOENT");
    CHECK(joined({by_mount.pwrite("3", 1), by_host.pwrite("4", 1)}) == "ok ok");
    CHECK(joined({by_mount.read_all(), by_host.read_all()}) == "13 24");
    CHECK(joined({by_mount.close(), by_host.close()}) == "ok ok");
    nfs.await_empty("d");
    CHECK(call::rmdir(stack("v/d")) == "ok");
  });
}

TEST_CASE("trees on NFS that were read can be deleted, by the mount and beside it",
          "[volume][remote][nfs]") {
  on_nfs([](const System& system) {
    Items items;
    for (int number = 0; number < 40; ++number) {
      items.push_back(file("a/" + std::to_string(number % 4) + "/" + std::to_string(number), "x"));
      items.push_back(file("b/" + std::to_string(number % 4) + "/" + std::to_string(number), "x"));
    }
    const Nfs nfs(items);
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(nfs.near(), "/v"));
    CHECK(picture(stack("v")) == picture(nfs.near()));
    const Ran by_mount = run({"rm", "-r", stack("v/a")});
    CHECK(by_mount.err == "");
    // NFS sets the files aside while our daemon holds them; soon it lets go.
    const Ran files = run({"find", nfs.near("b"), "-type", "f", "-delete"});
    CHECK(files.err == "");
    for (const char* part : {"b/0", "b/1", "b/2", "b/3"}) {
      nfs.await_empty(part);
    }
    CHECK(run({"rm", "-r", nfs.near("b")}).err == "");
    CHECK(names_in(nfs.far()).empty());
    CHECK(names_in(stack("v")).empty());
  });
}

TEST_CASE("what the server deletes under an open file is told as NFS tells it",
          "[volume][remote][nfs]") {
  on_nfs([](const System& system) {
    const Nfs nfs({file("f", "1"), file("d/x", "2")});
    Stack stack = Stack{}.lower({file("u", "3")}).upper();
    stack.mount(system, volume(nfs.near(), "/v"));
    const File file_here(stack("v/f"), O_RDONLY);
    const File directory(stack("v/d"), O_RDONLY | O_DIRECTORY);
    CHECK(file_here.read_all() == "1");
    REQUIRE(run({"rm", "-r", nfs.far("f"), nfs.far("d")}).exit_code == 0);
    if (!nfs.asks_always()) {
      return skip("needs NFS mounted with actimeo=0: else news come when its caches end");
    }
    CHECK(joined({call::stat(stack("v/f")), call::stat(stack("v/d"))}) == "ENOENT ENOENT");
    struct stat raw {};
    const std::string of_file = outcome(::fstat(file_here.fd(), &raw));
    CHECK((of_file == "ESTALE" || (of_file == "ok" && raw.st_nlink == 0)));
    CHECK(outcome(::fstatat(directory.fd(), "x", &raw, 0)) == "ESTALE");
    // The names can be used again, and the rest goes on.
    CHECK(joined({call::create(stack("v/f"), "new"), call::mkdir(stack("v/d")),
                  call::create(stack("v/d/y"), "y"), content(stack("u"))}) == "ok ok ok 3");
    CHECK(picture(nfs.far()) == Picture{"d/", "d/y=y", "f=new"});
  });
}

TEST_CASE("appends and mappings on NFS reach the server", "[volume][remote][nfs]") {
  on_nfs([](const System& system) {
    const Nfs nfs({file("log"), file("map", std::string(8192, '.'))});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(nfs.near(), "/v"));
    std::string expected;
    {
      File here(stack("v/log"), O_WRONLY | O_APPEND);
      File beside(nfs.near("log"), O_WRONLY | O_APPEND);
      for (int line = 0; line < 50; ++line) {
        CHECK(here.write("here\n") == "ok");
        CHECK(beside.write("beside\n") == "ok");
        expected += "here\nbeside\n";
      }
      CHECK(content(stack("v/log")) == expected);
    }
    CHECK(content(nfs.far("log")) == expected);
    File mapped(stack("v/map"), O_RDWR);
    void* const pages = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, mapped.fd(), 0);
    REQUIRE(pages != MAP_FAILED);
    static_cast<char*>(pages)[5000] = 'm';
    CHECK(outcome(::msync(pages, 8192, MS_SYNC)) == "ok");
    CHECK(outcome(::munmap(pages, 8192)) == "ok");
    CHECK(mapped.close() == "ok");
    CHECK(content(nfs.far("map")) == std::string(5000, '.') + 'm' + std::string(3191, '.'));
  });
}

TEST_CASE("a database on NFS", "[volume][remote][nfs]") {
  on_nfs([](const System& system) {
    if (run({"which", "sqlite3"}).exit_code != 0) {
      return skip("needs sqlite3");
    }
    const Nfs nfs({});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(nfs.near(), "/v"));
    const auto sql = [](const std::string& path, const std::string& text) {
      const Ran ran = run({"sqlite3", path, text});
      return ran.err.empty() ? ran.out : "<" + ran.err + ">";
    };
    CHECK(sql(stack("v/db"), "create table t (n); insert into t values (1), (2);") == "");
    std::string more = "begin;";
    for (int number = 3; number <= 500; ++number) {
      more += "insert into t values (" + std::to_string(number) + ");";
    }
    CHECK(sql(stack("v/db"), more + "commit;") == "");
    CHECK(sql(stack("v/db"), "begin; delete from t; rollback; select sum(n) from t;") ==
          "125250\n");
    CHECK(sql(nfs.near("db"), "pragma integrity_check; select sum(n) from t;") == "ok\n125250\n");
    CHECK(names_in(nfs.far()) == std::vector<std::string>{"db"});
  });
}

}  // namespace
}  // namespace plyfs::tests
