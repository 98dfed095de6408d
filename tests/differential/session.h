// Runs one case from building its layers to the last comparison, inside a worker process.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "compare.h"
#include "generator.h"
#include "mounts.h"

namespace plyfs::difftest {

/// How the two sides of a kind of run are mounted.
struct Drivers {
  std::unique_ptr<Driver> reference;  ///< kernel overlayfs
  std::unique_ptr<Driver> subject;    ///< plyfs, or the kernel again to test this tool
  std::unique_ptr<Driver> reader;     ///< kernel overlayfs that can mount what the subject wrote
  std::unique_ptr<Driver> writer;     ///< kernel overlayfs that writes a layer in the prelude
  /// Whether the subject promises what the kernel does not always keep: d_ino equals st_ino, and
  /// st_ino stays the same across copy-up, rename and remount.
  InodeNumbers promise = InodeNumbers::kSame;
  /// Whether the reference shows two names of one inode as such at once. Without decodable file
  /// handles, in a user namespace, overlayfs does so only after the next mount.
  HardLinks reference_links = HardLinks::kSame;
};

/// Shared with the supervisor, which reads it when a worker hangs.
struct Progress {
  std::atomic<std::int64_t> operation{-1};
  std::atomic<unsigned> connection{0};
};

enum class Trace : std::uint8_t { kOff, kOn };

/// Runs `input` below the empty directory `base`. Returns the first difference, or nothing.
/// The process must be alone in its mount namespace and root in its user namespace.
std::optional<Difference> run_session(const Case& input, const Limits& limits, Drivers drivers,
                                      const std::string& base, Progress& progress, Trace trace);

}  // namespace plyfs::difftest
