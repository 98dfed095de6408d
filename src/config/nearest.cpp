#include "config/nearest.h"

#include <algorithm>
#include <cstddef>

namespace plyfs::config {
namespace {

constexpr std::size_t kLongest = 64;  // no option is longer

/// Levenshtein's distance.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view written, const std::vector<std::string>& known) {
  std::string best;
  std::size_t least = std::max<std::size_t>(written.size() / 3, 1) + 1;
  for (const std::string& word : known) {
    const std::size_t far = written.size() > kLongest ? least : distance(written, word);
    if (far < least) {
      least = far;
      best = word;
    }
  }
  return best;
}

std::string suggestion(std::string_view written, const std::vector<std::string>& known,
                       std::string_view remedy) {
  const std::string meant = nearest(written, known);
  return (meant.empty() ? "" : "did you mean '" + meant + "'? ") + std::string{remedy};
}

}  // namespace plyfs::config
