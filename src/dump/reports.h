// The questions of plyfs-dump that walk: tree, snapshot.
#pragma once

#include <cstddef>
#include <limits>
#include <string>

#include "dump/print.h"
#include "dump/sink.h"
#include "dump/walk.h"

namespace plyfs::dump {

enum class Format : std::uint8_t { kText, kJson };
enum class Only : std::uint8_t { kAll, kUpper, kHidden, kWhiteouts, kOpaque, kVolumes };

struct TreeOptions {
  std::string path;
  std::size_t most_depth = std::numeric_limits<std::size_t>::max();
  Only only = Only::kAll;
  Format format = Format::kText;
  PrintStyle style;
};

/// Prints the tree below a path. ENOENT when no layer has anything there. Partly readable trees are
/// printed as far as they go; `unreadable` then is not 0.
Result<WalkResult> print_tree(const OpenStack& stack, const TreeOptions& options, const Sink& sink);

/// Every version of every path, one line each: what `compare` reads.
Result<WalkResult> print_snapshot(const OpenStack& stack, Format format, bool digests,
                                  const Sink& sink);

}  // namespace plyfs::dump
