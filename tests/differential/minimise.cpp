#include "minimise.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <sstream>
#include <string>

namespace plyfs::difftest {
namespace {

using Indexes = std::vector<std::size_t>;

/// Shrinks one of the two lists of `selection`, in chunks that halve down to one element.
class Shrinker {
 public:
  Shrinker(Selection& selection, Indexes Selection::*list, const Probe& probe, int& runs)
      : selection_(selection), list_(list), probe_(probe), runs_(runs) {}

  /// True when something could be removed.
  bool shrink() {
    bool shrunk = false;
    if (current().empty()) return false;
    for (std::size_t chunk = std::max<std::size_t>(1, current().size() / 2);; chunk /= 2) {
      // From the end: later parts are less often needed by others.
      for (std::size_t end = current().size(); end > 0 && runs_ > 0;) {
        const std::size_t begin = end > chunk ? end - chunk : 0;
        if (remove(begin, end)) shrunk = true;
        end = begin;
      }
      if (chunk <= 1 || runs_ <= 0) return shrunk;
    }
  }

 private:
  [[nodiscard]] const Indexes& current() const { return selection_.*list_; }

  bool remove(std::size_t begin, std::size_t end) {
    Selection candidate = selection_;
    Indexes& list = candidate.*list_;
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(begin),
               list.begin() + static_cast<std::ptrdiff_t>(end));
    --runs_;
    if (!probe_(candidate)) return false;
    selection_ = std::move(candidate);
    return true;
  }

  Selection& selection_;
  Indexes Selection::*list_;
  const Probe& probe_;
  int& runs_;
};

}  // namespace

Selection whole(const Case& input) {
  Selection selection;
  selection.operations.resize(input.operations.size());
  selection.prelude.resize(input.prelude.size());
  selection.layers.resize(input.layers.size());
  std::iota(selection.operations.begin(), selection.operations.end(), 0);
  std::iota(selection.prelude.begin(), selection.prelude.end(), 0);
  std::iota(selection.layers.begin(), selection.layers.end(), 0);
  return selection;
}

Case select(const Case& input, const Selection& selection) {
  Case part;
  for (const std::size_t i : selection.operations) {
    if (i < input.operations.size()) part.operations.push_back(input.operations[i]);
  }
  for (const std::size_t i : selection.prelude) {
    if (i < input.prelude.size()) part.prelude.push_back(input.prelude[i]);
  }
  for (const std::size_t i : selection.layers) {
    if (i < input.layers.size()) part.layers.push_back(input.layers[i]);
  }
  return part;
}

Selection minimise(Selection selection, const Probe& probe, int runs) {
  for (bool shrunk = true; shrunk && runs > 0;) {
    shrunk = Shrinker{selection, &Selection::operations, probe, runs}.shrink();
    shrunk = Shrinker{selection, &Selection::prelude, probe, runs}.shrink() || shrunk;
    shrunk = Shrinker{selection, &Selection::layers, probe, runs}.shrink() || shrunk;
  }
  return selection;
}

std::string to_text(const std::vector<std::size_t>& indexes) {
  std::string text;
  for (std::size_t i = 0; i < indexes.size();) {
    std::size_t last = i;
    while (last + 1 < indexes.size() && indexes[last + 1] == indexes[last] + 1) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(indexes[i]);
    if (last > i) text += "-" + std::to_string(indexes[last]);
    i = last + 1;
  }
  return text.empty() ? "none" : text;
}

std::vector<std::size_t> indexes_from(const std::string& text) {
  std::vector<std::size_t> indexes;
  std::istringstream words{text};
  for (std::string word; std::getline(words, word, ',');) {
    if (word.empty() || word[0] < '0' || word[0] > '9') continue;
    const std::size_t first = std::strtoul(word.c_str(), nullptr, 10);
    const std::size_t dash = word.find('-');
    const std::size_t last =
        dash == std::string::npos ? first : std::strtoul(word.c_str() + dash + 1, nullptr, 10);
    for (std::size_t i = first; i <= last && last - first < 1000000; ++i) indexes.push_back(i);
  }
  return indexes;
}

}  // namespace plyfs::difftest
