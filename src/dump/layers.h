// Per layer: what it holds, what of it is seen, and what it has twice.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "dump/open_stack.h"
#include "dump/walk.h"
#include "plyfs/result.h"

namespace plyfs::dump {

struct LayerSummary {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;  ///< of regular files; hard links once
  std::uint64_t directories = 0;
  std::uint64_t others = 0;
  std::uint64_t whiteouts = 0;
  std::uint64_t opaque = 0;
  std::uint64_t hidden_files = 0;  ///< seen by nobody because of the layers above
  std::uint64_t hidden_bytes = 0;
  std::uint64_t shared_files = 0;  ///< whose content another layer has too
  std::uint64_t shared_bytes = 0;
};

struct LayersReport {
  std::vector<LayerSummary> layers;    ///< by layer index
  std::uint64_t duplicate_bytes = 0;   ///< what one copy of each content would save
  std::uint64_t unreadable_files = 0;  ///< not compared
  std::uint64_t index_entries = 0;     ///< files of the upper that hard links share by WORK/index
  std::uint64_t index_bytes = 0;       ///< of those that have no name in the upper
  WalkResult walked;
};

/// Told how many of `total` bytes are hashed.
using HashProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

enum class Sharing : std::uint8_t { kSkip, kFind };

/// Files of equal size in different layers are hashed (XXH3-128), by one thread per processor.
/// Memory: about 80 bytes and the path for each file that is not empty.
Result<LayersReport> summarise_layers(const OpenStack& stack, Sharing sharing,
                                      const HashProgress& progress);

}  // namespace plyfs::dump
