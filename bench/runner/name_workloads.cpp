// Names and attributes, one system call at a time, of what is known already.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "files.h"
#include "workload.h"

namespace plyfs::bench {
namespace {

constexpr std::uint32_t kDirectories = 20;
constexpr std::size_t kBytes = 4096;

template <typename Call>
void each(const Worker& worker, const std::string& row, std::uint32_t count, Call call) {
  worker.measure(row, count, [&] {
    for (std::uint32_t i = 0; i < count; ++i) {
      call(i);
    }
  });
}

void look_at_files(const Worker& worker) {
  const std::uint32_t files = worker.fixture().files;
  struct stat attributes = {};
  const auto stat_of = [&](std::uint32_t i) {
    checked(::lstat(worker.file(i).c_str(), &attributes), "lstat");
  };
  for (std::uint32_t i = 0; i < files; ++i) {
    stat_of(i);
  }
  each(worker, "stat", files, stat_of);
  std::array<char, kBytes> buffer{};
  each(worker, "open-read", files, [&](std::uint32_t i) {
    if (OpenFile(worker.file(i), O_RDONLY).read_all(buffer.data(), buffer.size()) != kBytes) {
      throw std::runtime_error("a file is too short");
    }
  });
  const auto list = [&](std::uint32_t i) {
    if (count_entries(worker.path("d" + std::to_string(i))) == 0) {
      throw std::runtime_error("entries are missing");
    }
  };
  for (std::uint32_t i = 0; i < kDirectories; ++i) {
    list(i);
  }
  each(worker, "list", kDirectories, list);
}

void change_names(const Worker& worker) {
  const std::uint32_t files = worker.fixture().files;
  checked(::mkdir(worker.path("new").c_str(), 0755), "mkdir");
  const auto made = [&](const char* kind, std::uint32_t i) {
    return worker.path("new/") + kind + std::to_string(i);
  };
  std::array<char, kBytes> target{};
  each(worker, "mkdir", files,
       [&](std::uint32_t i) { checked(::mkdir(made("d", i).c_str(), 0755), "mkdir"); });
  each(worker, "rmdir", files,
       [&](std::uint32_t i) { checked(::rmdir(made("d", i).c_str()), "rmdir"); });
  each(worker, "symlink", files,
       [&](std::uint32_t i) { checked(::symlink("target", made("s", i).c_str()), "symlink"); });
  each(worker, "readlink", files, [&](std::uint32_t i) {
    checked(::readlink(made("s", i).c_str(), target.data(), target.size()), "readlink");
  });
  each(worker, "link", files, [&](std::uint32_t i) {
    checked(::link(worker.file(i).c_str(), made("h", i).c_str()), "link");
  });
  each(worker, "rename-file", files, [&](std::uint32_t i) {
    checked(::rename(made("h", i).c_str(), made("r", i).c_str()), "rename");
  });
}

}  // namespace

void add_name_workloads(std::vector<Workload>& all, double scale) {
  const Fixture fixture = {
      .layers = 1, .directories = kDirectories, .files = scaled(scale, 2000, 40), .bytes = kBytes};
  Workload names;
  names.name = "names";
  names.fixture = fixture;
  names.rows = {{.id = "stat", .title = "stat of a file, again"},
                {.id = "open-read", .title = "Open, read 4 KiB, close"},
                {.id = "list",
                 .title = "Listing of a directory of " + with_commas(fixture.files / kDirectories) +
                          " names, again"},
                {.id = "mkdir", .title = "mkdir"},
                {.id = "rmdir", .title = "rmdir of it"},
                {.id = "symlink", .title = "symlink"},
                {.id = "readlink", .title = "readlink"},
                {.id = "link", .title = "link of a lower file"},
                {.id = "rename-file", .title = "rename of that"}};
  names.body = [](const Worker& worker) {
    look_at_files(worker);
    change_names(worker);
  };
  all.push_back(std::move(names));
}

}  // namespace plyfs::bench
