// From a seed to a case: layers and a sequence of operations.
#pragma once

#include <cstdint>
#include <vector>

#include "layers.h"
#include "operations.h"

namespace plyfs::difftest {

/// What a kind of run can do; the same seed with the same limits gives the same case.
struct Limits {
  LayerLimits layers;
  bool ordinary_actor = true;  ///< operations by an ordinary user too
  bool drop_caches = false;
  bool tmpfile = true;   ///< O_TMPFILE
  bool prelude = false;  ///< the topmost lower layer is one that the kernel wrote as an upper
};

struct Case {
  std::vector<LayerEntry> layers;
  std::vector<Operation> prelude;  ///< done by the kernel; its upper becomes the topmost lower
  std::vector<Operation> operations;
};

Case generate_case(std::uint64_t seed, std::size_t operations, const Limits& limits);

}  // namespace plyfs::difftest
