// One name at a time: finding it, missing it, moving it, and what hangs on it.
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "mounted_tree.h"

namespace plyfs::bench {
namespace {

constexpr TreeShape kLower = {.layers = 4, .directories = 50, .files = 2000, .file_bytes = 128};
constexpr std::uint32_t kAbsentNames = 1000;
constexpr std::uint32_t kLayersOfMount2 = 16;  // overlayfs's options are one page here

void look_up_each(benchmark::State& state, System system) {
  const Tree& tree = tree_of(kLower);
  for ([[maybe_unused]] auto _ : state) {
    const MountedTree mounted(system, tree);
    struct stat found = {};
    const Stopwatch watch;
    for (const std::string& file : tree.files) {
      checked(::stat(mounted.path(file).c_str(), &found), "stat");
    }
    state.SetIterationTime(watch.seconds() / static_cast<double>(tree.files.size()));
  }
}

void miss_each(benchmark::State& state, System system, std::uint32_t layers) {
  const TreeShape shape = {
      .layers = layers, .directories = 10, .files = 10 * layers, .file_bytes = 0};
  const Tree& tree = tree_of(shape);
  for ([[maybe_unused]] auto _ : state) {
    const MountedTree mounted(system, tree);
    const std::string directory = mounted.path(tree.directories.front());
    struct stat found = {};
    const Stopwatch watch;
    for (std::uint32_t i = 0; i < kAbsentNames; ++i) {
      if (::stat((directory + "/absent" + std::to_string(i)).c_str(), &found) == 0 ||
          errno != ENOENT) {
        throw std::runtime_error("an absent name was found");
      }
    }
    state.SetIterationTime(watch.seconds() / kAbsentNames);
  }
}

/// Back and forth, so that each round finds the same.
void rename_one(benchmark::State& state, System system) {
  constexpr int kRounds = 500;
  const MountedTree mounted(system, tree_of(kLower));
  const std::string here = mounted.path(tree_of(kLower).files.front());
  const std::string there = here + "-renamed";
  checked(::rename(here.c_str(), there.c_str()), "rename");  // with the copy-up
  checked(::rename(there.c_str(), here.c_str()), "rename");
  for ([[maybe_unused]] auto _ : state) {
    const Stopwatch watch;
    for (int i = 0; i < kRounds; ++i) {
      checked(::rename(here.c_str(), there.c_str()), "rename");
      checked(::rename(there.c_str(), here.c_str()), "rename");
    }
    state.SetIterationTime(watch.seconds() / (2.0 * kRounds));
  }
}

enum class Attribute { kSet, kGet };

void xattr_of_one(benchmark::State& state, System system, Attribute what) {
  constexpr int kRounds = 500;
  constexpr const char* kName = "user.plyfs-bench";
  const MountedTree mounted(system, tree_of(kLower));
  const std::string path = mounted.path(tree_of(kLower).files.front());
  std::array<char, 32> value{};
  checked(::setxattr(path.c_str(), kName, value.data(), value.size(), 0), "setxattr");
  for ([[maybe_unused]] auto _ : state) {
    const Stopwatch watch;
    for (int i = 0; i < kRounds; ++i) {
      if (what == Attribute::kSet) {
        checked(::setxattr(path.c_str(), kName, value.data(), value.size(), 0), "setxattr");
      } else {
        checked(static_cast<int>(::getxattr(path.c_str(), kName, value.data(), value.size())),
                "getxattr");
      }
    }
    state.SetIterationTime(watch.seconds() / kRounds);
  }
}

}  // namespace

void register_name_benchmarks() {
  // Decides what one LOOKUP costs, without listings that bring many at once: opening a known path.
  register_each("BM_LookupEach", 3, Peers::kAll, look_up_each);
  // Decides whether a name that no layer has costs more with more layers: include and module paths.
  for (const std::uint32_t layers : {1U, kLayersOfMount2}) {
    register_each(
        "BM_LookupAbsentIn" + std::to_string(layers), 3, Peers::kAll,
        [layers](benchmark::State& state, System system) { miss_each(state, system, layers); });
  }
  // Decides what a rename in the upper costs beyond its message: editors and package managers.
  register_each("BM_RenameFile", 3, Peers::kAll, rename_one);
  // Decide what marks beside users' xattrs cost.
  register_each("BM_SetXattr", 3, Peers::kAll, [](benchmark::State& state, System system) {
    xattr_of_one(state, system, Attribute::kSet);
  });
  register_each("BM_GetXattr", 3, Peers::kAll, [](benchmark::State& state, System system) {
    xattr_of_one(state, system, Attribute::kGet);
  });
}

}  // namespace plyfs::bench
