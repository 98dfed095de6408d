// The first table: what copy-up costs against a bind mount.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <stdexcept>
#include <vector>

#include "files.h"
#include "workload.h"

namespace plyfs::bench {
namespace {

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;
constexpr std::size_t kPage = 4096;
constexpr std::uint32_t kSeed = 7;

using Bytes = std::vector<char>;

Workload io(std::string name, Fixture fixture, std::vector<Row> rows, Body body) {
  Workload made;
  made.name = std::move(name);
  made.table = Table::kBindIo;
  made.fixture = fixture;
  made.rows = std::move(rows);
  made.body = std::move(body);
  return made;
}

void write_one_byte_each(const Worker& worker) {
  for (std::uint32_t i = 0; i < worker.fixture().files; ++i) {
    OpenFile(worker.file(i), O_WRONLY).write_at("y", 1, 0);
  }
}

Workload first_write(const std::string& size_name, std::size_t bytes, std::uint32_t files,
                     double target) {
  const std::string id = "write-" + size_name;
  const std::string of = std::to_string(bytes >= kMiB ? bytes / kMiB : bytes / kKiB) +
                         (bytes >= kMiB ? " MiB" : " KiB");
  return io(
      "first-write-" + size_name, {.layers = 1, .directories = 0, .files = files, .bytes = bytes},
      {{.id = "first-" + id, .title = "First write into a lower file of " + of, .target = target},
       {.id = "second-" + id, .title = "Second write into it"}},
      [id, files](const Worker& worker) {
        worker.measure("first-" + id, files, [&] { write_one_byte_each(worker); });
        worker.measure("second-" + id, files, [&] { write_one_byte_each(worker); });
      });
}

/// What the first write costs has a row of its own. Behind a page cache it is done when that is
/// written back; without sync() it would be, by and by, in the middle of what is measured.
void write_first(const OpenFile& file, const char* bytes, std::size_t size) {
  file.write_at(bytes, size, 0);  // to the end if the file is open for appending
  file.sync();
}

void append(const Worker& worker, std::uint32_t count) {
  const OpenFile file(worker.file(0), O_WRONLY | O_APPEND);
  const Bytes page(kPage, 'a');
  write_first(file, page.data(), kPage);
  worker.measure("append", count, [&] {
    for (std::uint32_t i = 0; i < count; ++i) {
      file.write(page.data(), kPage);
    }
  });
}

void read_and_write(const Worker& worker, std::uint32_t randoms) {
  const std::size_t size = worker.fixture().bytes;
  const double mebibytes = std::max(1.0, static_cast<double>(size) / kMiB);
  Bytes buffer(kMiB, 'w');
  std::mt19937 random(kSeed);
  const auto somewhere = [&] { return random() % (size / kPage) * kPage; };
  const auto read_all = [&] {
    if (OpenFile(worker.file(0), O_RDONLY).read_all(buffer.data(), buffer.size()) < size) {
      throw std::runtime_error("the file is too short");
    }
  };
  worker.measure("read-first", mebibytes, read_all);
  worker.measure("read-again", mebibytes, read_all);
  {
    const OpenFile file(worker.file(0), O_RDWR);
    worker.measure("random-read", randoms, [&] {
      for (std::uint32_t i = 0; i < randoms; ++i) {
        file.read_at(buffer.data(), kPage, somewhere());
      }
    });
    write_first(file, buffer.data(), kPage);
    worker.measure("random-write", randoms, [&] {
      for (std::uint32_t i = 0; i < randoms; ++i) {
        file.write_at(buffer.data(), kPage, somewhere());
      }
    });
  }
  worker.measure("sequential-write", mebibytes, [&] {
    const OpenFile file(worker.path("new"), O_WRONLY | O_CREAT | O_EXCL);
    for (std::size_t done = 0; done < size; done += kMiB) {
      file.write(buffer.data(), std::min(kMiB, size - done));
    }
  });
}

/// Few enough pages that the kernel may keep all of them unwritten, also for FUSE.
void write_randomly(const Worker& worker, std::uint32_t count) {
  const std::size_t pages = worker.fixture().bytes / kPage;
  const OpenFile file(worker.file(0), O_RDWR);
  const Bytes page(kPage, 'w');
  std::mt19937 random(kSeed);
  write_first(file, page.data(), kPage);
  worker.measure("random-write-small", count, [&] {
    for (std::uint32_t i = 0; i < count; ++i) {
      file.write_at(page.data(), kPage, random() % pages * kPage);
    }
  });
}

void map_and_write(const Worker& worker) {
  const std::size_t size = worker.fixture().bytes;
  const OpenFile file(worker.file(0), O_RDWR);
  write_first(file, "y", 1);
  void* const map = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (map == MAP_FAILED) {
    throw std::runtime_error("mmap failed");
  }
  worker.measure("mmap-write", static_cast<double>(size / kPage), [&] {
    for (std::size_t at = 0; at < size; at += kPage) {
      static_cast<volatile char*>(map)[at] = 'm';
    }
    checked(::msync(map, size, MS_SYNC), "msync");
  });
  ::munmap(map, size);
}

void sync_each(const Worker& worker, std::uint32_t count) {
  const OpenFile file(worker.file(0), O_WRONLY);
  const Bytes page(kPage, 's');
  write_first(file, page.data(), kPage);
  worker.measure("fsync", count, [&] {
    for (std::uint32_t i = 0; i < count; ++i) {
      file.write_at(page.data(), kPage, i % 16 * kPage);
      file.sync();
    }
  });
}

void open_each(const Worker& worker) {
  const std::uint32_t files = worker.fixture().files;
  // The second time: names are known then, and what is left is open and close.
  for (const char* const row : {"open-first", "open-again"}) {
    worker.measure(row, files, [&] {
      for (std::uint32_t i = 0; i < files; ++i) {
        const OpenFile file(worker.file(i), O_RDWR);
      }
    });
  }
}

}  // namespace

void add_io_workloads(std::vector<Workload>& all, double scale) {
  all.push_back(first_write("4k", 4 * kKiB, scaled(scale, 200), 0));
  all.push_back(first_write("64k", 64 * kKiB, scaled(scale, 100), 0));
  all.push_back(first_write("1m", kMiB, scaled(scale, 20), 0));
  all.push_back(first_write("4k-ext4", 4 * kKiB, scaled(scale, 50), 0));
  all.back().medium = Medium::kExt4;
  all.back().rows[0].title += ", on ext4";
  all.back().rows[1].title += ", on ext4";
  all.push_back(first_write("64m", std::max(kMiB, std::size_t(64 * kMiB * scale)), 1, 0));
  all.push_back(first_write("1g", std::max(kMiB, std::size_t(1024 * kMiB * scale)), 1, 0.5));
  all.back().medium = Medium::kExt4;
  all.back().most_rounds = 3;
  all.back().rows[0].title += ", on ext4";
  all.back().rows[1].title += ", on ext4";

  const std::uint32_t opened = scaled(scale, 2000);
  all.push_back(
      io("open", {.layers = 1, .directories = 20, .files = opened, .bytes = kPage},
         {{.id = "open-first", .title = "Open for writing, write nothing, on ext4", .target = 0.05},
          {.id = "open-again", .title = "The same files once more"}},
         open_each));
  all.back().medium = Medium::kExt4;

  const std::uint32_t appends = scaled(scale, 10000);
  all.push_back(io("append", {.layers = 1, .directories = 0, .files = 1, .bytes = 64 * kKiB},
                   {{.id = "append", .title = "Append of 4 KiB", .target = 1.5}},
                   [appends](const Worker& worker) { append(worker, appends); }));

  const std::size_t large = std::max(kMiB, std::size_t(256 * kMiB * scale));
  const std::uint32_t randoms = scaled(scale, 20000);
  all.push_back(io(
      "read-write", {.layers = 1, .directories = 0, .files = 1, .bytes = large},
      {{.id = "read-first", .title = "Sequential read, first time, 1 MiB"},
       {.id = "read-again", .title = "Sequential read, again, 1 MiB"},
       {.id = "random-read", .title = "Random read of 4 KiB"},
       {.id = "random-write", .title = "Random write of 4 KiB, of 256 MiB", .target = 1.5},
       {.id = "sequential-write", .title = "Sequential write of a new file, 1 MiB", .target = 2}},
      [randoms](const Worker& worker) { read_and_write(worker, randoms); }));

  all.push_back(
      io("random-write",
         {.layers = 1,
          .directories = 0,
          .files = 1,
          .bytes = std::max(kMiB, std::size_t(16 * kMiB * scale))},
         {{.id = "random-write-small", .title = "Random write of 4 KiB, of 16 MiB", .target = 1.5}},
         [randoms](const Worker& worker) { write_randomly(worker, randoms); }));

  all.push_back(io("mmap",
                   {.layers = 1,
                    .directories = 0,
                    .files = 1,
                    .bytes = std::max(kMiB, std::size_t(64 * kMiB * scale))},
                   {{.id = "mmap-write", .title = "Write through mmap, a page"}}, map_and_write));

  const std::uint32_t syncs = scaled(scale, 100);
  all.push_back(io("fsync", {.layers = 1, .directories = 0, .files = 1, .bytes = 64 * kKiB},
                   {{.id = "fsync", .title = "Write of 4 KiB and fsync, on ext4"}},
                   [syncs](const Worker& worker) { sync_each(worker, syncs); }));
  all.back().medium = Medium::kExt4;
}

}  // namespace plyfs::bench
