// Delta debugging: the shortest case that still shows a difference.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "generator.h"

namespace plyfs::difftest {

/// Which parts of a generated case take part, by index.
struct Selection {
  std::vector<std::size_t> operations;
  std::vector<std::size_t> prelude;
  std::vector<std::size_t> layers;
};

Selection whole(const Case& input);
Case select(const Case& input, const Selection& selection);

/// Whether the selected part still fails in the same way.
using Probe = std::function<bool(const Selection&)>;

/// Removes operations and layer entries until none can be removed alone, or `runs` are used up.
Selection minimise(Selection selection, const Probe& probe, int runs);

/// "3,5-9,12"
std::string to_text(const std::vector<std::size_t>& indexes);
/// The reverse; what cannot be read is left out.
std::vector<std::size_t> indexes_from(const std::string& text);

}  // namespace plyfs::difftest
