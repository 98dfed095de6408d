// Walks a whole tree of a stack, names in byte order, parents first.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>

#include "dump/place.h"

namespace plyfs::dump {

enum class Descend : std::uint8_t { kNo, kYes, kStop };

struct WalkOptions {
  std::size_t most_depth = std::numeric_limits<std::size_t>::max();  ///< below the start
};

struct WalkResult {
  Unreadable unreadable;
};

/// Visits `start` (depth 0), then everything below it in any layer, seen or hidden. Needs no stack
/// space per level, and few descriptors, however deep the tree is.
/// Cost: one stat per layer that holds the parent, for each name.
WalkResult walk(const OpenStack& stack, Target start, const WalkOptions& options,
                const std::function<Descend(const Answer&, std::size_t depth)>& visit);

}  // namespace plyfs::dump
