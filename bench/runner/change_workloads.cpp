// Changing trees: creating, removing, attributes, renaming.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "files.h"
#include "workload.h"

namespace plyfs::bench {
namespace {

constexpr std::size_t kSmall = 1024;

Workload changing(std::string name, Fixture fixture, std::vector<Row> rows, Body body) {
  Workload made;
  made.name = std::move(name);
  made.fixture = fixture;
  made.rows = std::move(rows);
  made.body = std::move(body);
  return made;
}

std::string small_file(const Worker& worker, std::uint32_t index) {
  return worker.path("new/s" + std::to_string(index));
}

void create_and_unlink(const Worker& worker, std::uint32_t files) {
  const std::array<char, kSmall> bytes{};
  checked(::mkdir(worker.path("new").c_str(), 0755), "mkdir");
  worker.measure("create", files, [&] {
    for (std::uint32_t i = 0; i < files; ++i) {
      OpenFile(small_file(worker, i), O_WRONLY | O_CREAT | O_EXCL).write(bytes.data(), kSmall);
    }
  });
  worker.measure("unlink", files, [&] {
    for (std::uint32_t i = 0; i < files; ++i) {
      checked(::unlink(small_file(worker, i).c_str()), "unlink");
    }
  });
}

// The entries of the root, not the root itself: a mount point cannot be removed.
Words with_entries(Words words, const Worker& worker) {
  for (const auto& entry : std::filesystem::directory_iterator(worker.root())) {
    words.push_back(entry.path().string());
  }
  return words;
}

void change_attributes(const Worker& worker) {
  const std::uint32_t files = worker.fixture().files;
  worker.measure("chmod", files / 2, [&] {
    for (std::uint32_t i = 0; i < files / 2; ++i) {
      checked(::chmod(worker.file(i).c_str(), 0600), "chmod");
    }
  });
  const std::array<timespec, 2> times = {timespec{.tv_sec = 1, .tv_nsec = 0},
                                         timespec{.tv_sec = 1, .tv_nsec = 0}};
  worker.measure("utimens", files / 2, [&] {
    for (std::uint32_t i = files / 2; i < files; ++i) {
      checked(::utimensat(AT_FDCWD, worker.file(i).c_str(), times.data(), 0), "utimensat");
    }
  });
}

// As mv does: it copies and removes what cannot be renamed.
void rename_directories(const Worker& worker) {
  const std::uint32_t directories = worker.fixture().directories;
  worker.measure("rename", directories, [&] {
    for (std::uint32_t i = 0; i < directories; ++i) {
      const std::string from = worker.path("d" + std::to_string(i));
      const std::string to = from + "-renamed";
      if (::rename(from.c_str(), to.c_str()) == 0) {
        continue;
      }
      if (errno != EXDEV) {
        checked(-1, "rename");
      }
      run({"mv", from, to});
    }
  });
}

}  // namespace

void add_change_workloads(std::vector<Workload>& all, double scale) {
  const std::uint32_t many = scaled(scale, 10000, 100);
  const std::string number = with_commas(many);
  all.push_back(changing("create", {.layers = 1},
                         {{.id = "create", .title = "Create a file of 1 KiB", .target = 2},
                          {.id = "unlink", .title = "Unlink it", .target = 3}},
                         [many](const Worker& worker) { create_and_unlink(worker, many); }));
  const Fixture lower = {
      .layers = 1, .directories = scaled(scale, 300), .files = many, .bytes = 128};
  all.push_back(changing(
      "rm", lower, {{.id = "rm", .title = "rm -rf of " + number + " lower files", .target = 3}},
      [](const Worker& worker) {
        const Words words = with_entries({"rm", "-rf"}, worker);
        worker.measure("rm", 1, [&] { run(words); });
      }));
  all.push_back(changing(
      "chown", lower,
      {{.id = "chown", .title = "chgrp -R of " + number + " lower files", .target = 0.5}},
      [](const Worker& worker) {
        const Words words =
            with_entries({"chgrp", "-R", std::to_string(worker.user().other_group)}, worker);
        worker.measure("chown", 1, [&] { run(words); });
      }));
  const std::uint32_t some = scaled(scale, 2000);
  // Half of the files for each of the two.
  all.push_back(changing("attributes",
                         {.layers = 1, .directories = 20, .files = 2 * some, .bytes = 4096},
                         {{.id = "chmod", .title = "chmod of a lower file", .target = 0.5},
                          {.id = "utimens", .title = "utimens of a lower file", .target = 0.5}},
                         change_attributes));
  all.push_back(changing(
      "rename",
      {.layers = 1, .directories = 3, .files = 3 * scaled(scale, 1000, 20), .bytes = 1024},
      {{.id = "rename",
        .title =
            "Rename of a lower directory of " + with_commas(scaled(scale, 1000, 20)) + " files",
        .target = 0.01}},
      rename_directories));
}

}  // namespace plyfs::bench
