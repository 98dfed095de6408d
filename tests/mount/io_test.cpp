// Reading and writing in every way there is.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "stack.h"

namespace plyfs::tests {
namespace {

constexpr std::size_t kPage = 4096;

Systems all_systems() {
  Systems systems = every_union();
  systems.insert(systems.begin(), posix_systems().front());
  return systems;
}

TEST_CASE("what is written at any offset is read back", "[io]") {
  on(all_systems(), [](const System& system) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{100}, kPage, 3 * kPage + 17}) {
      std::string expected = pattern(size);
      Stack stack = Stack{}.lower({file("f", expected)}).upper();
      stack.mount(system);
      File handle(stack("f"), O_RDWR);
      for (const std::size_t offset :
           {std::size_t{0}, size / 2, size - 1, size + 5, 2 * kPage - 1}) {
        const std::string data = pattern(700, static_cast<unsigned>(offset));
        REQUIRE(handle.pwrite(data, static_cast<off_t>(offset)) == "ok");
        if (expected.size() < offset + data.size()) {
          expected.resize(offset + data.size(), '\0');
        }
        expected.replace(offset, data.size(), data);
        CHECK((handle.read_all() == expected));
        CHECK(handle.stat().st_size == static_cast<off_t>(expected.size()));
      }
      REQUIRE(handle.close() == "ok");
      stack.remount();
      CHECK((content(stack("f")) == expected));
    }
  });
}

TEST_CASE("O_APPEND from two files never overwrites", "[io]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "0")}).upper();
    stack.mount(system);
    File first(stack("f"), O_WRONLY | O_APPEND);
    File second(stack("f"), O_WRONLY | O_APPEND);
    std::string expected = "0";
    for (int round = 0; round < 50; ++round) {
      const std::string one = "a" + std::to_string(round);
      const std::string two = "b" + std::to_string(round);
      CHECK(first.write(one) == "ok");
      CHECK(second.write(two) == "ok");
      expected += one + two;
    }
    CHECK(content(stack("f")) == expected);
    (void)first.close();
    (void)second.close();
    stack.remount();
    CHECK(content(stack("f")) == expected);
  });
}

TEST_CASE("reads and writes stop at the access mode", "[io]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "text"), dir("d"), symlink("l", "f")}).upper();
    stack.mount(system);
    File reader(stack("f"), O_RDONLY);
    const File writer(stack("f"), O_WRONLY);
    CHECK(reader.write("x") == "EBADF");
    CHECK(writer.pread(0, 4) == "<EBADF>");
    CHECK(outcome(::ftruncate(reader.fd(), 0)) == "EINVAL");
    CHECK(call::open(stack("d"), O_WRONLY) == "EISDIR");
    CHECK(call::open(stack("f"), O_RDONLY | O_DIRECTORY) == "ENOTDIR");
    CHECK(call::open(stack("l"), O_RDONLY | O_NOFOLLOW) == "ELOOP");
    CHECK(call::open(stack("f"), O_RDWR | O_CREAT | O_EXCL) == "EEXIST");
    CHECK(call::open(stack("f"), O_RDWR | O_CREAT) == "ok");
    CHECK(call::truncate(stack("d"), 0) == "EISDIR");
    CHECK(call::truncate(stack("f"), -1) == "EINVAL");
    CHECK(content(stack("f")) == "text");
    CHECK(outcome(::fsync(reader.fd())) == "ok");
  });
}

struct Release {
  void operator()(void* memory) const { std::free(memory); }
};

TEST_CASE("O_DIRECT reads and writes aligned blocks", "[io]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", pattern(4 * kPage))}).upper();
    stack.mount(system);
    const File direct(stack("f"), O_RDWR | O_DIRECT);
    if (direct.opened() == "EINVAL") {
      return skip("needs a filesystem with O_DIRECT");
    }
    REQUIRE(direct.opened() == "ok");
    const std::unique_ptr<char, Release> block(
        static_cast<char*>(std::aligned_alloc(kPage, kPage)));
    REQUIRE(::pread(direct.fd(), block.get(), kPage, kPage) == static_cast<ssize_t>(kPage));
    CHECK((std::string(block.get(), kPage) == pattern(4 * kPage).substr(kPage, kPage)));
    std::fill_n(block.get(), kPage, 'D');
    REQUIRE(::pwrite(direct.fd(), block.get(), kPage, 2 * kPage) == static_cast<ssize_t>(kPage));
    const std::string expected =
        pattern(4 * kPage).replace(2 * kPage, kPage, std::string(kPage, 'D'));
    CHECK((content(stack("f")) == expected));
    File cached(stack("f"), O_RDWR);
    REQUIRE(cached.pwrite("cached", 0) == "ok");
    REQUIRE(::pread(direct.fd(), block.get(), kPage, 0) == static_cast<ssize_t>(kPage));
    CHECK(std::string(block.get(), 6) == "cached");
  });
}

TEST_CASE("fallocate changes size and content as asked", "[io]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", pattern(4 * kPage)), file("g", "g")}).upper();
    stack.mount(system);
    const File handle(stack("f"), O_RDWR);
    const auto allocate = [&](int mode, std::size_t offset, std::size_t length) {
      return outcome(
          ::fallocate(handle.fd(), mode, static_cast<off_t>(offset), static_cast<off_t>(length)));
    };
    std::string expected = pattern(4 * kPage);
    CHECK(allocate(FALLOC_FL_KEEP_SIZE, 4 * kPage, 4 * kPage) == "ok");
    CHECK(handle.stat().st_size == static_cast<off_t>(4 * kPage));
    CHECK(allocate(0, 0, 6 * kPage) == "ok");
    expected.resize(6 * kPage, '\0');
    CHECK((handle.read_all() == expected));
    CHECK(allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kPage, kPage) == "ok");
    expected.replace(kPage, kPage, std::string(kPage, '\0'));
    CHECK((handle.read_all() == expected));
    const std::string zero = allocate(FALLOC_FL_ZERO_RANGE, 100, 50);
    CHECK((zero == "ok" || zero == "EOPNOTSUPP"));
    if (zero == "ok") {
      expected.replace(100, 50, std::string(50, '\0'));
    }
    CHECK((handle.read_all() == expected));
    CHECK(allocate(0, 0, 0) == "EINVAL");
    CHECK(allocate(FALLOC_FL_PUNCH_HOLE, 0, kPage) == "EOPNOTSUPP");
    const File other(stack("g"), O_RDWR);
    CHECK(outcome(::posix_fallocate(other.fd(), 0, 100)) == "ok");
    CHECK(content(stack("g")) == "g" + std::string(99, '\0'));
  });
}

TEST_CASE("the mtime that fallocate and copy_file_range leave survives the mount", "[io]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("from", pattern(2 * kPage))}).upper();
    stack.mount(system);
    File from(stack("from"), O_RDONLY);
    std::vector<std::pair<std::string, timespec>> seen;
    // Clocks have steps of some milliseconds; filesystems have finer ones when somebody looks.
    for (int i = 0; i < 60; ++i) {
      const std::string name = stack("f" + std::to_string(i));
      File handle(name, O_RDWR | O_CREAT);
      REQUIRE(handle.pwrite(pattern(4 * kPage), 0) == "ok");
      REQUIRE(outcome(::fsync(handle.fd())) == "ok");
      (void)handle.stat();
      off_t from_start = 0;
      off_t start = 0;
      if (i % 3 == 0) {
        CHECK(outcome(::fallocate(handle.fd(), 0, 0, 5 * kPage)) == "ok");
      } else if (i % 3 == 1) {
        CHECK(outcome(::fallocate(handle.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                                  kPage)) == "ok");
      } else {
        CHECK(::copy_file_range(from.fd(), &from_start, handle.fd(), &start, kPage, 0) == kPage);
      }
      seen.emplace_back(name, handle.stat().st_mtim);
      REQUIRE(handle.close() == "ok");
    }
    REQUIRE(from.close() == "ok");
    stack.remount();
    for (const auto& [name, mtime] : seen) {
      struct stat now {};
      REQUIRE(outcome(::stat(name.c_str(), &now)) == "ok");
      CHECK(now.st_mtim.tv_sec == mtime.tv_sec);
      CHECK(now.st_mtim.tv_nsec == mtime.tv_nsec);
    }
  });
}

TEST_CASE("SEEK_DATA and SEEK_HOLE find the holes, before and after copy-up", "[io]") {
  on(all_systems(), [](const System& system) {
    constexpr off_t kSize = off_t{8} << 20U;
    constexpr off_t kMiddle = kSize / 2;
    Stack stack = Stack{}.lower({file("f", pattern(kPage)).with_size(kSize)}).upper();
    stack.mount(system);
    const auto seek = [&](const File& handle, off_t offset, int whence) {
      return ::lseek(handle.fd(), offset, whence);
    };
    const File reader(stack("f"), O_RDONLY);
    if (seek(reader, 0, SEEK_HOLE) == kSize) {
      return skip("needs a filesystem with holes");
    }
    CHECK(seek(reader, 0, SEEK_DATA) == 0);
    CHECK(seek(reader, 0, SEEK_HOLE) == static_cast<off_t>(kPage));
    CHECK(outcome(seek(reader, kPage, SEEK_DATA)) == "ENXIO");
    CHECK(outcome(seek(reader, kSize, SEEK_HOLE)) == "ENXIO");
    File writer(stack("f"), O_RDWR);
    REQUIRE(writer.pwrite("data", kMiddle) == "ok");
    CHECK(seek(writer, kMiddle, SEEK_DATA) == kMiddle);
    CHECK(seek(writer, 0, SEEK_HOLE) < kMiddle);
    CHECK(seek(writer, kMiddle, SEEK_HOLE) < kSize);
    CHECK(seek(writer, 0, SEEK_END) == kSize);
    CHECK(outcome(seek(writer, -1, SEEK_SET)) == "EINVAL");
  });
}

TEST_CASE("copy_file_range copies between lower, upper and new files", "[io]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("low", pattern(100'000, 1)), file("target", pattern(50'000, 2))})
                      .upper({file("up", pattern(30'000, 3))});
    stack.mount(system);
    const auto copy = [&](const std::string& from, const std::string& to, off_t at, off_t to_at,
                          std::size_t size) {
      const File source(stack(from), O_RDONLY);
      const File target(stack(to), O_WRONLY | O_CREAT, 0644);
      while (size > 0) {
        const ssize_t done = ::copy_file_range(source.fd(), &at, target.fd(), &to_at, size, 0);
        if (done <= 0) {
          return done == 0 ? std::string("short") : outcome(done);
        }
        size -= static_cast<std::size_t>(done);
      }
      return std::string("ok");
    };
    CHECK(copy("low", "up", 10, 5, 20'000) == "ok");
    CHECK(copy("low", "target", 0, 49'000, 100'000) == "ok");
    CHECK(copy("up", "new", 0, 0, 30'000) == "ok");
    std::string up = pattern(30'000, 3);
    up.replace(5, 20'000, pattern(100'000, 1), 10, 20'000);
    const std::string target = pattern(50'000, 2).substr(0, 49'000) + pattern(100'000, 1);
    const auto check = [&] {
      CHECK((content(stack("up")) == up));
      CHECK((content(stack("target")) == target));
      CHECK((content(stack("new")) == up));
      CHECK((content(stack("low")) == pattern(100'000, 1)));
    };
    check();
    stack.remount();
    check();
  });
}

/// A mapping; unmaps itself.
class Mapping {
 public:
  Mapping(const File& handle, std::size_t size, int protection, int flags)
      : size_(size), start_(::mmap(nullptr, size, protection, flags, handle.fd(), 0)) {}
  ~Mapping() { ::munmap(start_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] bool is_mapped() const { return start_ != MAP_FAILED; }
  [[nodiscard]] char* bytes() const { return static_cast<char*>(start_); }
  [[nodiscard]] std::string sync() const { return outcome(::msync(start_, size_, MS_SYNC)); }

 private:
  std::size_t size_;
  void* start_;
};

TEST_CASE("a write through a shared mapping reaches the file", "[io][mmap]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", pattern(3 * kPage))}).upper();
    stack.mount(system);
    {
      File handle(stack("f"), O_RDWR);
      const Mapping map(handle, 3 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED);
      REQUIRE(map.is_mapped());
      CHECK(map.bytes()[kPage] == pattern(3 * kPage)[kPage]);
      map.bytes()[10] = 'M';
      map.bytes()[2 * kPage] = 'N';
      CHECK(map.sync() == "ok");
      CHECK(handle.pread(10, 1) == "M");
      REQUIRE(handle.pwrite("P", 20) == "ok");
      CHECK(map.bytes()[20] == 'P');
      map.bytes()[30] = 'Q';  // written back at the latest by the unmount
    }
    std::string expected = pattern(3 * kPage);
    expected[10] = 'M';
    expected[20] = 'P';
    expected[30] = 'Q';
    expected[2 * kPage] = 'N';
    CHECK((content(stack("f")) == expected));
    stack.remount();
    CHECK((content(stack("f")) == expected));
  });
}

TEST_CASE("a private mapping changes nothing", "[io][mmap]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", pattern(kPage))}).upper();
    stack.mount(system);
    {
      const File handle(stack("f"), O_RDONLY);
      const Mapping map(handle, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE);
      REQUIRE(map.is_mapped());
      map.bytes()[0] = '!';
      CHECK((handle.read_all() == pattern(kPage)));
    }
    if (!system.is_plain()) {
      CHECK(stack.upper_picture() == Picture{});
    }
    CHECK((content(stack("f")) == pattern(kPage)));
  });
}

TEST_CASE("scripts and programs run", "[io][exec]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}
                      .lower({file("script", "#!/bin/sh\necho script $1\n").with_mode(0755),
                              file("echo", content("/bin/echo")).with_mode(0755),
                              file("plain", "#!/bin/sh\n").with_mode(0644)})
                      .upper();
    stack.mount(system);
    if (run({stack("echo"), "probe"}).exit_code == 126 + 1 && system.is_plain()) {
      return skip("needs a workspace without noexec");
    }
    const auto check = [&] {
      CHECK(run({stack("script"), "one"}).out == "script one\n");
      CHECK(run({stack("echo"), "two"}).out == "two\n");
      CHECK(run({stack("plain")}).exit_code == 127);  // the child's exec failed
    };
    check();
    REQUIRE(call::append(stack("script"), "echo more\n") == "ok");
    CHECK(run({stack("script"), "one"}).out == "script one\nmore\n");
    REQUIRE(call::chmod(stack("echo"), 0700) == "ok");
    CHECK(run({stack("echo"), "two"}).out == "two\n");
    REQUIRE(call::create(stack("new"), "#!/bin/sh\necho new\n", 0755) == "ok");
    CHECK(run({stack("new")}).out == "new\n");
  });
}

TEST_CASE("fsync, fdatasync and fsync of a directory succeed", "[io]") {
  on(all_systems(), [](const System& system) {
    Stack stack = Stack{}.lower({file("d/f", "1"), dir("e")}).upper();
    stack.mount(system);
    File handle(stack("d/f"), O_RDWR);
    CHECK(outcome(::fsync(handle.fd())) == "ok");
    REQUIRE(handle.pwrite("2", 0) == "ok");
    CHECK(outcome(::fdatasync(handle.fd())) == "ok");
    CHECK(outcome(::fsync(handle.fd())) == "ok");
    for (const char* name : {"", "d", "e"}) {
      const File directory(stack(name), O_RDONLY | O_DIRECTORY);
      CHECK(outcome(::fsync(directory.fd())) == "ok");
      CHECK(outcome(::fdatasync(directory.fd())) == "ok");
    }
    CHECK(outcome(::syncfs(handle.fd())) == "ok");
    if (!system.is_plain()) {
      CHECK(content(stack.upper_path("d/f")) == "2");
    }
  });
}

TEST_CASE("statfs tells the upper's figures", "[io]") {
  on(unions(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1")}).upper();
    stack.mount(system);
    struct statfs seen = {};
    struct statfs upper = {};
    REQUIRE(outcome(::statfs(stack("f").c_str(), &seen)) == "ok");
    REQUIRE(outcome(::statfs(stack.upper_path().c_str(), &upper)) == "ok");
    CHECK(seen.f_bsize == upper.f_bsize);
    CHECK(seen.f_blocks == upper.f_blocks);
    CHECK(seen.f_files == upper.f_files);
    CHECK(seen.f_namelen == 255);
    CHECK(seen.f_bfree <= seen.f_blocks);
    CHECK(seen.f_type == (system.is_kernel() ? OVERLAYFS_SUPER_MAGIC : 0x65735546));
  });
}

TEST_CASE("FS_IOC_GETFLAGS answers as the layer's filesystem does", "[io]") {
  on(unions(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1"), dir("d")}).upper();
    stack.mount(system);
    for (const char* name : {"f", "d"}) {
      int of_layer = 0;
      int seen = 0;
      const File below(stack.lower_path(0, name), O_RDONLY);
      const File above(stack(name), O_RDONLY);
      const std::string expected = outcome(::ioctl(below.fd(), FS_IOC_GETFLAGS, &of_layer));
      INFO(name << " on the layer: " << expected);
      const std::string result = outcome(::ioctl(above.fd(), FS_IOC_GETFLAGS, &seen));
      CHECK(result == expected);
      CHECK(seen == of_layer);
    }
  });
}

TEST_CASE("FS_IOC_SETFLAGS sets what the upper's filesystem can", "[io]") {
  on(unions(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1"), dir("d")}).upper({file("probe")});
    stack.mount(system);
    int flags = 0;
    const File probe(stack.upper_path("probe"), O_RDONLY);
    if (::ioctl(probe.fd(), FS_IOC_GETFLAGS, &flags) != 0) {
      return skip("needs a filesystem with inode flags");
    }
    for (const char* name : {"f", "d"}) {
      INFO(name);
      const File open(stack(name), O_RDONLY);
      REQUIRE(outcome(::ioctl(open.fd(), FS_IOC_GETFLAGS, &flags)) == "ok");
      flags |= FS_NODUMP_FL;
      CHECK(outcome(::ioctl(open.fd(), FS_IOC_SETFLAGS, &flags)) == "ok");
    }
    stack.remount();
    for (const char* name : {"f", "d"}) {
      INFO(name);
      const File open(stack(name), O_RDONLY);
      REQUIRE(outcome(::ioctl(open.fd(), FS_IOC_GETFLAGS, &flags)) == "ok");
      CHECK((flags & FS_NODUMP_FL) != 0);
      struct fsxattr extended {};
      CHECK(outcome(::ioctl(open.fd(), FS_IOC_FSGETXATTR, &extended)) == "ok");
      CHECK((extended.fsx_xflags & FS_XFLAG_NODUMP) != 0);
    }
    if (is_root() && !system.is_kernel()) {
      flags |= FS_IMMUTABLE_FL;
      const File open(stack("f"), O_RDONLY);
      CHECK(outcome(::ioctl(open.fd(), FS_IOC_SETFLAGS, &flags)) == "EOPNOTSUPP");
      CHECK(call::append(stack("f"), "2") == "ok");
    }
  });
}

TEST_CASE("root's mounts may keep pages as other filesystems", "[io]") {
  on(plyfs_only(), [](const System& system) {
    Stack stack = Stack{}.lower({file("f", "1")}).upper();
    stack.mount(system);
    struct stat root {};
    REQUIRE(::stat(stack().c_str(), &root) == 0);
    const std::string bdi = "/sys/class/bdi/" + std::to_string(major(root.st_dev)) + ':' +
                            std::to_string(minor(root.st_dev)) + '/';
    if (::access((bdi + "strict_limit").c_str(), F_OK) != 0) {
      return skip("needs a kernel that has strict_limit");
    }
    const bool may_set = ::access((bdi + "strict_limit").c_str(), W_OK) == 0;
    CHECK(content(bdi + "strict_limit") == (may_set ? "0\n" : "1\n"));
    CHECK(content(bdi + "read_ahead_kb") == (may_set ? "1024\n" : "128\n"));
    // Past those 128 KiB.
    const std::string data = pattern(5'000'000);
    REQUIRE(call::create(stack("g"), data) == "ok");
    CHECK((content(stack("g")) == data));
    stack.remount();
    CHECK((content(stack("g")) == data));
  });
}

}  // namespace
}  // namespace plyfs::tests
