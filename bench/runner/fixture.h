#pragma once

// The lower layers that a workload finds. Seeded: equal on every machine, but for kRootfs, which is
// a part of this machine's own /usr.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "storage.h"

namespace plyfs::bench {

enum class FixtureKind {
  kFiles,   ///< `files` of `bytes`, in `directories`, spread over the layers
  kRootfs,  ///< up to `files` small files of /usr: most in the last layer, some in those above
  kDeep,    ///< a directory "d" in every layer with a few files of each
};

struct Fixture {
  FixtureKind kind = FixtureKind::kFiles;
  std::uint32_t layers = 1;
  std::uint32_t directories = 0;  ///< named d0, d1, ...; files are named f0, f1, ...
  std::uint32_t files = 0;
  std::size_t bytes = 0;

  bool operator==(const Fixture&) const = default;
};

/// The path of a file of a kFiles fixture, from the root of the tree.
std::string file_path(const Fixture& fixture, std::uint32_t index);

/// Layers on a medium, topmost first, kept until the destructor; nobody writes to them.
class Layers {
 public:
  Layers(Storage& storage, const Identity& user, const Fixture& fixture, Medium medium);
  ~Layers();
  Layers(const Layers&) = delete;
  Layers& operator=(const Layers&) = delete;

  [[nodiscard]] const std::vector<std::string>& paths() const { return paths_; }
  [[nodiscard]] const Fixture& fixture() const { return fixture_; }
  [[nodiscard]] Medium medium() const { return medium_; }
  /// All of them as one plain directory, for workloads that only read. Made at the first call.
  const std::string& merged();

 private:
  Storage& storage_;
  Identity user_;
  Fixture fixture_;
  Medium medium_;
  std::string base_;
  std::vector<std::string> paths_;
  std::string merged_;
};

}  // namespace plyfs::bench
