// Changing a tree: what whiteouts, copy-up and the upper layer cost.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "mounted_tree.h"

namespace plyfs::bench {
namespace {

constexpr TreeShape kLower = {.layers = 1, .directories = 300, .files = 10000, .file_bytes = 128};
constexpr TreeShape kNothing = {};
constexpr std::uint32_t kSmallFiles = 1000;
constexpr std::size_t kPage = 4096;

void with_fresh_lower(benchmark::State& state, System system, const char* program,
                      const char* argument) {
  const Tree& tree = tree_of(kLower);
  for ([[maybe_unused]] auto _ : state) {
    const MountedTree mounted(system, tree);
    // The entries of the root, not the root itself: a mount point cannot be removed.
    std::vector<std::string> words = {program, argument};
    if (std::string(program) == "chown") {
      words.emplace_back("5:5");
    }
    for (const auto& entry : std::filesystem::directory_iterator(mounted.root())) {
      words.push_back(entry.path().string());
    }
    const Stopwatch watch;
    run(words);
    state.SetIterationTime(watch.seconds());
  }
}

void rename_directories(benchmark::State& state, System system) {
  const Tree& tree = tree_of(kLower);
  const MountedTree mounted(system, tree);
  // A directory stands behind its parent in the list: from the end, no path changes before its
  // turn.
  auto next = tree.directories.rbegin();
  for ([[maybe_unused]] auto _ : state) {
    std::string from = mounted.path(*next++);
    from.pop_back();
    const std::string to = from + "-renamed";
    const Stopwatch watch;
    checked(::rename(from.c_str(), to.c_str()), "rename");
    state.SetIterationTime(watch.seconds());
  }
}

void first_write(benchmark::State& state, System system, const TreeShape& shape) {
  const Tree& tree = tree_of(shape);
  const MountedTree mounted(system, tree);
  auto next = tree.files.begin();
  for ([[maybe_unused]] auto _ : state) {
    const std::string path = mounted.path(*next++);
    const Stopwatch watch;
    const int fd = checked(::open(path.c_str(), O_WRONLY | O_CLOEXEC), "open");
    checked(static_cast<int>(::pwrite(fd, "y", 1, 0)), "pwrite");
    checked(::close(fd), "close");
    state.SetIterationTime(watch.seconds());
  }
}

void register_first_write(const char* name, std::uint32_t files, std::size_t bytes) {
  const TreeShape shape = {.layers = 1, .directories = 0, .files = files, .file_bytes = bytes};
  register_each(name, files, Peers::kAll, [shape](benchmark::State& state, System system) {
    first_write(state, system, shape);
  });
}

std::string small_file(const MountedTree& mounted, std::uint32_t index) {
  return mounted.path("small" + std::to_string(index));
}

double create_small(const MountedTree& mounted) {
  const std::array<char, kPage> bytes{};
  const Stopwatch watch;
  for (std::uint32_t i = 0; i < kSmallFiles; ++i) {
    const int fd = checked(
        ::open(small_file(mounted, i).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644),
        "create");
    checked(static_cast<int>(::write(fd, bytes.data(), bytes.size())), "write");
    checked(::close(fd), "close");
  }
  return watch.seconds();
}

double unlink_small(const MountedTree& mounted) {
  const Stopwatch watch;
  for (std::uint32_t i = 0; i < kSmallFiles; ++i) {
    checked(::unlink(small_file(mounted, i).c_str()), "unlink");
  }
  return watch.seconds();
}

void create_files(benchmark::State& state, System system) {
  const MountedTree mounted(system, tree_of(kNothing));
  for ([[maybe_unused]] auto _ : state) {
    state.SetIterationTime(create_small(mounted));
    (void)unlink_small(mounted);
  }
}

void unlink_files(benchmark::State& state, System system) {
  const MountedTree mounted(system, tree_of(kNothing));
  for ([[maybe_unused]] auto _ : state) {
    (void)create_small(mounted);
    state.SetIterationTime(unlink_small(mounted));
  }
}

void append_pages(benchmark::State& state, System system) {
  constexpr int kAppends = 1000;
  const MountedTree mounted(system, tree_of(kNothing));
  const std::array<char, kPage> bytes{};
  const std::string path = mounted.path("log");
  for ([[maybe_unused]] auto _ : state) {
    const int fd = checked(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644), "open");
    const Stopwatch watch;
    for (int i = 0; i < kAppends; ++i) {
      checked(static_cast<int>(::write(fd, bytes.data(), bytes.size())), "write");
    }
    checked(::close(fd), "close");
    state.SetIterationTime(watch.seconds());
  }
}

}  // namespace

void register_change_benchmarks() {
  // Decides what a whiteout costs, and the emptiness check and opaque mark of a directory: a
  // package manager or an image build removing what a lower layer brought.
  register_each("BM_RemoveLower", 1, Peers::kAll, [](benchmark::State& state, System system) {
    with_fresh_lower(state, system, "rm", "-rf");
  });
  // Decides whether metadata-only copy-up is as cheap as the kernel's; without it the data would be
  // copied 10,000 times.
  register_each("BM_ChownLower", 1, Peers::kAll, [](benchmark::State& state, System system) {
    with_fresh_lower(state, system, "chown", "-R");
  });
  // Decides whether a redirect is independent of the size of the directory.
  register_each("BM_RenameLowerDirectory", 50, Peers::kAll, rename_directories);
  // Decide the fixed cost of one copy-up, and where the copying of data takes over.
  register_first_write("BM_FirstWrite4KiB", 200, kPage);
  register_first_write("BM_FirstWrite1MiB", 20, std::size_t{1} << 20U);
  register_first_write("BM_FirstWrite64MiB", 2, std::size_t{64} << 20U);
  // Decides the requests that a new small file needs: unpacking an archive, a compiler's objects.
  register_each("BM_CreateSmall1000", 3, Peers::kAll, create_files);
  // Decides whether removing what only the upper has looks at the lower layers more than once.
  register_each("BM_UnlinkSmall1000", 3, Peers::kAll, unlink_files);
  // Decides whether small writes are gathered by the write-back cache: 1,000 appends, as of a log.
  register_each("BM_Append4KiB", 3, Peers::kAll, append_pages);
}

}  // namespace plyfs::bench
