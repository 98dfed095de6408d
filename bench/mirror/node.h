// What the mirror knows of each file: where it is, and the descriptors through which it is reached.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

namespace plyfs::mirror {

/// Why a descriptor is open.
enum class Slot : std::uint8_t {
  kPlace,  ///< a directory, or (O_PATH) what has lost its name or has several
  kRead,
  kReadWrite,
};

/// One file, as the kernel knows it. Its address is the number of its inode in messages.
/// Descriptors are opened when they are first needed, and closed when the kernel forgets the node:
/// none is ever replaced, so whoever serves a request of the node may use them without a lock.
struct Node {
  // Guarded by NodeTable's mutex; parent and name also by Mirror::names, held exclusively to
  // change.
  Node* parent = nullptr;  ///< null: the root, and what has no name any more
  std::string name;
  Node* next_in_bucket = nullptr;
  std::uint64_t hash = 0;
  std::uint64_t lookups = 0;   ///< what the kernel will take back by FORGET
  std::uint64_t children = 0;  ///< nodes whose `parent` this is
  timespec mtime{};            ///< as the kernel has it, of a regular file
  bool mtime_moved = false;    ///< by a WRITE: the file is to get `mtime` back

  std::atomic<mode_t> mode{0};
  std::atomic<bool> has_links{false};     ///< has, or had, more names than this
  std::atomic<bool> made_by_us{false};    ///< and had no xattr set since
  std::atomic<std::uint64_t> read_to{0};  ///< a directory: where its descriptor stands
  std::array<std::atomic<int>, 3> files{-1, -1, -1};

  [[nodiscard]] std::atomic<int>& file(Slot slot) { return files[static_cast<std::size_t>(slot)]; }
  [[nodiscard]] bool is(mode_t type) const {
    return (mode.load(std::memory_order_relaxed) & S_IFMT) == type;
  }
};

struct NodeLinks {
  static Node*& next(Node& node) { return node.next_in_bucket; }
  static std::uint64_t hash(const Node& node) { return node.hash; }
};

/// Arguments of the *at calls. `name` lives as long as Mirror::names is held.
struct Place {
  int directory;
  const char* name;
  int flags;  ///< AT_EMPTY_PATH or AT_SYMLINK_NOFOLLOW
};

}  // namespace plyfs::mirror
