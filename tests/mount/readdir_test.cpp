// Reading directories: complete, without duplicates, stable while they change.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <map>
#include <set>

#include "stack.h"

namespace plyfs::tests {
namespace {

/// A directory stream; closes itself.
class Listing {
 public:
  explicit Listing(const std::string& path) : stream_(::opendir(path.c_str())) {}
  ~Listing() { ::closedir(stream_); }
  Listing(const Listing&) = delete;
  Listing& operator=(const Listing&) = delete;

  /// The next name; empty at the end.
  std::string next() {
    const dirent* entry = ::readdir(stream_);
    return entry == nullptr ? std::string() : std::string(entry->d_name);
  }
  std::vector<std::string> rest() {
    std::vector<std::string> names;
    for (std::string name = next(); !name.empty(); name = next()) {
      names.push_back(std::move(name));
    }
    return names;
  }
  long tell() { return ::telldir(stream_); }
  void seek(long position) { ::seekdir(stream_, position); }
  void rewind() { ::rewinddir(stream_); }

 private:
  DIR* stream_;
};

/// A reader who asks for one piece after another, as large as he says.
class PieceReader {
 public:
  explicit PieceReader(const std::string& path) : directory_(path, O_RDONLY | O_DIRECTORY) {}
  /// The next names; none at the end.
  std::vector<std::string> next(std::size_t size_bytes) {
    std::vector<char> buffer(size_bytes);
    const long got = ::syscall(SYS_getdents64, directory_.fd(), buffer.data(), buffer.size());
    std::vector<std::string> names;
    for (long at = 0; at < got;) {
      dirent64 entry{};
      std::memcpy(&entry, buffer.data() + at, offsetof(dirent64, d_name));
      names.emplace_back(buffer.data() + at + offsetof(dirent64, d_name));
      at += entry.d_reclen;
    }
    return names;
  }

 private:
  File directory_;
};

std::string numbered(const std::string& prefix, int number) {
  return prefix + std::to_string(number);
}

Items many(const std::string& prefix, int count) {
  Items items;
  items.reserve(static_cast<std::size_t>(count));
  for (int number = 0; number < count; ++number) {
    items.push_back(file(numbered(prefix, number)));
  }
  return items;
}

int count_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<int>(std::count(names.begin(), names.end(), name));
}

TEST_CASE("a merged directory of 20,000 names is listed completely and once", "[readdir]") {
  on(posix_systems(), [](const System& system) {
    Items top = many("d/t", 9'000);
    const Items shared = many("d/s", 2'000);
    top.insert(top.end(), shared.begin(), shared.end());
    for (int number = 0; number < 1'000; ++number) {
      top.push_back(whiteout(numbered("d/b", number)));
    }
    Items bottom = many("d/b", 10'000);
    bottom.insert(bottom.end(), shared.begin(), shared.end());
    Stack stack = Stack{}.lower(std::move(top)).lower(std::move(bottom)).upper();
    stack.mount(system);
    const std::vector<std::string> names = sorted_names_in(stack("d"));
    CHECK(names.size() == 20'000);
    CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
    CHECK(count_of(names, "b999") == 0);
    CHECK(count_of(names, "b1000") == 1);
    CHECK(count_of(names, "t8999") == 1);
  });
}

TEST_CASE("names that stay are seen exactly once while others come and go", "[readdir]") {
  on(posix_systems(), [](const System& system) {
    Items low = many("d/low", 3'000);
    Stack stack = Stack{}.lower(many("d/top", 3'000)).lower(std::move(low)).upper();
    stack.mount(system);
    Listing listing(stack("d"));
    std::vector<std::string> seen;
    for (int index = 0; index < 2'000; ++index) {
      seen.push_back(listing.next());
    }
    std::set<std::string> removed;
    for (int number = 0; number < 3'000; number += 3) {
      const std::string name = numbered(number % 2 == 0 ? "top" : "low", number);
      REQUIRE(call::unlink(stack("d/" + name)) == "ok");
      removed.insert(name);
      REQUIRE(call::create(stack(numbered("d/new", number))) == "ok");
    }
    const std::vector<std::string> rest = listing.rest();
    seen.insert(seen.end(), rest.begin(), rest.end());
    std::map<std::string, int> times;
    for (const std::string& name : seen) {
      ++times[name];
    }
    for (int number = 0; number < 3'000; ++number) {
      for (const char* prefix : {"top", "low"}) {
        const std::string name = numbered(prefix, number);
        if (removed.count(name) == 0 && times[name] != 1) {
          FAIL_CHECK(name << " was seen " << times[name] << " times");
        }
      }
    }
    listing.rewind();
    const std::vector<std::string> again = listing.rest();
    CHECK(again.size() == 6'002);  // with . and ..
    CHECK(count_of(again, "new0") == 1);
    CHECK(count_of(again, "top0") == 0);
  });
}

TEST_CASE("who begins after a change sees it, though another goes on before it", "[readdir]") {
  on(posix_systems(), [](const System& system) {
    constexpr int kOld = 60;
    constexpr int kNew = 30;
    constexpr std::size_t kAll = 32768;  // bytes, more than all of them take; Linux 6.1 gives 4096
    constexpr std::size_t kFew = 512;
    Stack stack = Stack{}.lower(many("d/old", kOld)).upper();
    stack.mount(system);
    PieceReader before(stack("d"));
    for (std::size_t told = 0; told < kOld + 2;) {  // all, but not that this is the end
      const std::size_t piece = before.next(kAll).size();
      REQUIRE(piece > 0);
      told += piece;
    }
    for (int number = 0; number < kNew; ++number) {
      REQUIRE(call::unlink(stack(numbered("d/old", number))) == "ok");
      REQUIRE(call::create(stack(numbered("d/new", number))) == "ok");
    }
    PieceReader after(stack("d"));
    std::vector<std::string> seen = after.next(kFew);
    CHECK(!seen.empty());
    (void)before.next(kAll);
    for (;;) {
      const std::vector<std::string> piece = after.next(kFew);
      if (piece.empty()) {
        break;
      }
      seen.insert(seen.end(), piece.begin(), piece.end());
    }
    for (int number = 0; number < kOld; ++number) {
      INFO(number);
      CHECK(count_of(seen, numbered("old", number)) == (number < kNew ? 0 : 1));
      CHECK(count_of(seen, numbered("new", number)) == (number < kNew ? 1 : 0));
    }
  });
}

TEST_CASE("seekdir comes back to where telldir was", "[readdir]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower(many("d/a", 700)).lower(many("d/b", 700)).upper();
    stack.mount(system);
    Listing listing(stack("d"));
    std::vector<std::pair<long, std::string>> positions;
    for (;;) {
      const long position = listing.tell();
      const std::string name = listing.next();
      if (name.empty()) {
        break;
      }
      positions.emplace_back(position, name);
    }
    REQUIRE(positions.size() == 1'402);
    for (std::size_t index = 0; index < positions.size(); index += 97) {
      const auto& [position, name] = positions[positions.size() - 1 - index];
      listing.seek(position);
      CHECK(listing.next() == name);
    }
    listing.rewind();
    CHECK(listing.rest().size() == 1'402);
  });
}

TEST_CASE("d_ino is st_ino and d_type is the type", "[readdir]") {
  on(posix_systems(), [](const System& system) {
    if (system.is_kernel() && !is_root()) {
      return skip("kernel: d_ino of copied-up entries needs file handles");
    }
    Stack stack = Stack{}
                      .lower({file("d/top"), file("d/changed"), dir("d/sub"), symlink("d/l", "x")})
                      .lower({file("d/low"), fifo("d/p"), file("d/sub/x"), file("pure/x")})
                      .upper({file("d/up")});
    stack.mount(system);
    REQUIRE(call::chmod(stack("d/changed"), 0600) == "ok");
    REQUIRE(call::append(stack("d/low"), "more") == "ok");
    REQUIRE(call::rename(stack("d/top"), stack("d/moved")) == "ok");
    for (const char* directory : {"d", "d/sub", "pure", ""}) {
      DIR* listing = ::opendir(stack(directory).c_str());
      REQUIRE(listing != nullptr);
      while (const dirent* entry = ::readdir(listing)) {
        if (std::string(entry->d_name) == "..") {
          continue;
        }
        INFO(directory << "/" << entry->d_name);
        const struct stat info = status(stack(directory) + "/" + entry->d_name);
        CHECK(entry->d_ino == info.st_ino);
        CHECK(static_cast<mode_t>(DTTOIF(entry->d_type)) == (info.st_mode & S_IFMT));
      }
      ::closedir(listing);
    }
  });
}

TEST_CASE("an open listing goes on after its directory is removed", "[readdir]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({dir("d")}).upper();
    stack.mount(system);
    Listing listing(stack("d"));
    REQUIRE(call::rmdir(stack("d")) == "ok");
    for (const std::string& name : listing.rest()) {
      CHECK((name == "." || name == ".."));
    }
  });
}

TEST_CASE("names are bytes: 255 of them, valid UTF-8 or not", "[readdir]") {
  on(posix_systems(), [](const System& system) {
    const std::string longest(255, 'n');
    const std::string odd = "\xff\xfe\x80 \n\t\"'\\$*?\x01";
    Stack stack =
        Stack{}.lower({file(longest, "1"), file("d/" + odd, "2"), file(":,=", "3")}).upper();
    stack.mount(system);
    CHECK(content(stack(longest)) == "1");
    CHECK(content(stack("d/" + odd)) == "2");
    CHECK(content(stack(":,=")) == "3");
    CHECK(names_in(stack("d")) == std::vector<std::string>{odd});
    REQUIRE(call::append(stack(longest), "+") == "ok");
    REQUIRE(call::rename(stack("d/" + odd), stack("d/" + odd + "2")) == "ok");
    REQUIRE(call::create(stack("d/" + longest), "4") == "ok");
    REQUIRE(call::mkdir(stack("d/" + odd)) == "ok");
    stack.remount();
    CHECK(content(stack(longest)) == "1+");
    CHECK(content(stack("d/" + odd + "2")) == "2");
    CHECK(content(stack("d/" + longest)) == "4");
    CHECK(call::unlink(stack(longest)) == "ok");
    CHECK(call::stat(stack(longest)) == "ENOENT");
  });
}

TEST_CASE("a name of 256 bytes is ENAMETOOLONG", "[readdir]") {
  on(posix_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f"), dir("d")}).upper();
    stack.mount(system);
    const std::string name = stack(std::string(256, 'n'));
    CHECK(call::stat(name) == "ENAMETOOLONG");
    CHECK(call::create(name) == "ENAMETOOLONG");
    CHECK(call::mkdir(name) == "ENAMETOOLONG");
    CHECK(call::symlink("x", name) == "ENAMETOOLONG");
    CHECK(call::mknod(name, S_IFIFO | 0600) == "ENAMETOOLONG");
    CHECK(call::link(stack("f"), name) == "ENAMETOOLONG");
    CHECK(call::rename(stack("f"), name) == "ENAMETOOLONG");
    CHECK(call::unlink(name) == "ENAMETOOLONG");
    CHECK(call::rmdir(name) == "ENAMETOOLONG");
  });
}

}  // namespace
}  // namespace plyfs::tests
