#pragma once

// What every benchmark here stands on: layers made from a seed on a tmpfs of our own, a union of
// them mounted afresh, and the registration of one body for each system that is compared.
//
// Needs root. Failures are thrown as std::exception; register_each turns them into a skipped
// benchmark.

#include <benchmark/benchmark.h>
#include <sys/types.h>

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace plyfs::bench {

enum class System { kPlyfs, kOverlayfs, kFuseOverlayfs };

// Equal shapes give equal trees on every machine.
struct TreeShape {
  std::uint32_t layers = 1;
  std::uint32_t directories = 0;
  std::uint32_t files = 0;
  std::size_t file_bytes = 0;

  auto operator<=>(const TreeShape&) const = default;
};

// Lower layers, topmost first, and the paths of what they hold, relative to the root of the union.
struct Tree {
  std::vector<std::string> layers;
  std::vector<std::string> directories;
  std::vector<std::string> files;
};

// Made at the first call for a shape and kept until the process ends: no system writes to it.
const Tree& tree_of(const TreeShape& shape);

// A union of the tree with an empty upper. The destructor unmounts it, waits until its daemon has
// ended, and removes the upper, so that nothing of one benchmark runs into the next.
class MountedTree {
 public:
  MountedTree(System system, const Tree& tree);
  ~MountedTree();
  MountedTree(const MountedTree&) = delete;
  MountedTree& operator=(const MountedTree&) = delete;

  [[nodiscard]] const std::string& root() const { return root_; }
  [[nodiscard]] std::string path(const std::string& relative) const;
  // 0 when the kernel itself serves the mount.
  [[nodiscard]] pid_t daemon() const { return daemon_; }

 private:
  void unmount() noexcept;

  std::string base_;
  std::string root_;
  pid_t daemon_ = 0;
};

class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Runs a program found on PATH; throws unless it ends with 0.
void run(std::span<const std::string> words);

// Throws std::system_error with errno when the result of a system call is negative.
int checked(int result, const char* what);

using Body = std::function<void(benchmark::State&, System)>;

// Registers NAME/plyfs, NAME/overlayfs and, where it is installed and the tree is not too large for
// it, NAME/fuse-overlayfs. Bodies set the time of each iteration themselves.
enum class Peers { kAll, kKernelOnly };
void register_each(const std::string& name, std::int64_t iterations, Peers peers, const Body& body);

void register_walk_benchmarks();
void register_change_benchmarks();
void register_name_benchmarks();

}  // namespace plyfs::bench
