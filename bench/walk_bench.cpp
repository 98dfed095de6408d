// Reading a tree: how much of the kernel's caches plyfs leaves in use, what the first look costs,
// and what the daemon remembers for it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include "mounted_tree.h"

namespace plyfs::bench {
namespace {

// A root file system in small: most directories have a few files, some are deep.
constexpr TreeShape kRootfs = {.layers = 4, .directories = 700, .files = 7000, .file_bytes = 2048};
constexpr TreeShape kWide = {.layers = 2, .directories = 0, .files = 100000, .file_bytes = 0};
constexpr TreeShape kHuge = {.layers = 4, .directories = 6000, .files = 300000, .file_bytes = 0};

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using DirectoryStream = std::unique_ptr<DIR, CloseDirectory>;

enum class Visit { kStat, kRead };

DirectoryStream open_directory(int parent, const char* name) {
  const int fd = checked(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC), name);
  DirectoryStream stream(::fdopendir(fd));
  if (!stream) {
    throw std::system_error(errno, std::generic_category(), "fdopendir");
  }
  return stream;
}

void read_file(int parent, const char* name) {
  std::array<char, 16384> buffer{};
  const int fd = checked(::openat(parent, name, O_RDONLY | O_CLOEXEC), name);
  while (checked(static_cast<int>(::read(fd, buffer.data(), buffer.size())), "read") > 0) {
  }
  ::close(fd);
}

// Everything below the directory; the number of entries tells whether the whole tree was seen.
std::uint64_t walk(DIR* directory, Visit visit) {  // NOLINT(misc-no-recursion): at most 8 deep
  std::uint64_t seen = 0;
  const int fd = ::dirfd(directory);
  while (const dirent* const entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") {
      continue;
    }
    ++seen;
    struct stat attributes = {};
    checked(::fstatat(fd, entry->d_name, &attributes, AT_SYMLINK_NOFOLLOW), "lstat");
    if (S_ISDIR(attributes.st_mode)) {
      seen += walk(open_directory(fd, entry->d_name).get(), visit);
    } else if (visit == Visit::kRead) {
      read_file(fd, entry->d_name);
    }
  }
  return seen;
}

double timed_walk(const MountedTree& mounted, const TreeShape& shape, Visit visit) {
  const Stopwatch watch;
  const std::uint64_t seen = walk(open_directory(AT_FDCWD, mounted.root().c_str()).get(), visit);
  const double seconds = watch.seconds();
  if (seen != std::uint64_t{shape.directories} + shape.files) {
    throw std::runtime_error("the walk saw " + std::to_string(seen) + " entries");
  }
  return seconds;
}

void warm(benchmark::State& state, System system, Visit visit) {
  const MountedTree mounted(system, tree_of(kRootfs));
  (void)timed_walk(mounted, kRootfs, visit);
  for ([[maybe_unused]] auto _ : state) {
    state.SetIterationTime(timed_walk(mounted, kRootfs, visit));
  }
}

void cold(benchmark::State& state, System system, Visit visit) {
  const Tree& tree = tree_of(kRootfs);
  for ([[maybe_unused]] auto _ : state) {
    const MountedTree mounted(system, tree);
    state.SetIterationTime(timed_walk(mounted, kRootfs, visit));
  }
}

void list_wide(benchmark::State& state, System system) {
  const Tree& tree = tree_of(kWide);
  for ([[maybe_unused]] auto _ : state) {
    const MountedTree mounted(system, tree);
    const Stopwatch watch;
    const DirectoryStream directory = open_directory(AT_FDCWD, mounted.root().c_str());
    std::uint64_t entries = 0;
    while (const dirent* const entry = ::readdir(directory.get())) {
      const std::string_view name = entry->d_name;
      entries += name == "." || name == ".." ? 0U : 1U;
    }
    state.SetIterationTime(watch.seconds());
    if (entries != kWide.files) {
      throw std::runtime_error("readdir gave " + std::to_string(entries) + " entries");
    }
  }
}

double resident_bytes(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  std::string word;
  while (status >> word) {
    if (double kibibytes = 0; word == "VmRSS:" && status >> kibibytes) {
      return kibibytes * 1024;
    }
  }
  throw std::runtime_error("no VmRSS");
}

// The kernel sends what it forgets bit by bit and tells nobody when it is through, so this watches
// until the size has been still for a while. Directories go only after what they hold, hence the
// rounds.
double resident_after_drop(pid_t process) {
  constexpr int kRounds = 3;
  constexpr int kStillLooks = 10;
  constexpr int kMostLooks = 100;
  double resident = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::ofstream("/proc/sys/vm/drop_caches") << "2\n" << std::flush;
    resident = resident_bytes(process);
    int still = 0;
    for (int look = 0; look < kMostLooks && still < kStillLooks; ++look) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      const double now = resident_bytes(process);
      still = now < resident || now > resident ? 0 : still + 1;
      resident = now;
    }
  }
  return resident;
}

void walk_huge(benchmark::State& state, System system) {
  const Tree& tree = tree_of(kHuge);
  for ([[maybe_unused]] auto _ : state) {
    const MountedTree mounted(system, tree);
    const double before = mounted.daemon() > 0 ? resident_bytes(mounted.daemon()) : 0;
    state.SetIterationTime(timed_walk(mounted, kHuge, Visit::kStat));
    if (mounted.daemon() == 0) {
      continue;
    }
    constexpr double kMebibyte = 1024.0 * 1024.0;
    const double after = resident_bytes(mounted.daemon());
    state.counters["bytes_per_inode"] = (after - before) / (kHuge.files + kHuge.directories);
    state.counters["mib_left_after_drop"] =
        (resident_after_drop(mounted.daemon()) - before) / kMebibyte;
  }
}

}  // namespace

void register_walk_benchmarks() {
  // Decides whether entry and attribute timeouts and cached directory listings do their work: a
  // warm walk should not reach the daemon at all.
  register_each("BM_WalkWarm", 20, Peers::kAll,
                [](benchmark::State& state, System system) { warm(state, system, Visit::kStat); });
  // Decides whether opening for reading needs the daemon: the pages are cached, so what is left is
  // open and close.
  register_each("BM_ReadWarm", 10, Peers::kAll,
                [](benchmark::State& state, System system) { warm(state, system, Visit::kRead); });
  // Decides what a lookup and a merged directory cost the first time, as when a container starts.
  register_each("BM_WalkCold", 5, Peers::kAll,
                [](benchmark::State& state, System system) { cold(state, system, Visit::kStat); });
  // The same with data: decides what the first read of a small file costs.
  register_each("BM_ReadCold", 3, Peers::kAll,
                [](benchmark::State& state, System system) { cold(state, system, Visit::kRead); });
  // Decides whether merging is linear in the entries of one directory.
  register_each("BM_ReaddirWide", 2, Peers::kAll, list_wide);
  // Decides whether the cost of an inode stays the same in a large tree, what the daemon remembers
  // of each, and whether it gives that back when the kernel forgets.
  register_each("BM_WalkHuge", 1, Peers::kKernelOnly, walk_huge);
}

}  // namespace plyfs::bench
