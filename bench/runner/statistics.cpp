#include "statistics.h"

#include <algorithm>

namespace plyfs::bench {

double median(Samples samples) {
  if (samples.empty()) {
    return 0;
  }
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  return samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
}

Summary summarise(const Samples& samples) {
  if (samples.empty()) {
    return {};
  }
  const auto [least, most] = std::minmax_element(samples.begin(), samples.end());
  return {.count = samples.size(), .median = median(samples), .min = *least, .max = *most};
}

double spread(const Samples& samples) {
  const Summary all = summarise(samples);
  return all.median > 0 ? (all.max - all.min) / 2 / all.median : 0;
}

Comparison compare(const Samples& subject, const Samples& reference, double noise) {
  const std::size_t rounds = std::min(subject.size(), reference.size());
  const double base = median(reference);
  if (rounds == 0 || base <= 0) {
    return {};
  }
  Comparison result{.ratio = median(subject) / base};
  Samples ratios;
  for (std::size_t i = 0; i < rounds; ++i) {
    if (reference[i] > 0) {
      ratios.push_back(subject[i] / reference[i]);
    }
  }
  const Summary all = summarise(ratios);
  result.low = all.min;
  result.high = all.max;
  result.verdict = Verdict::kWithinNoise;
  if (all.count < 2) {
    return result;
  }
  if (all.max < 1 && result.ratio < 1 / (1 + noise)) {
    result.verdict = Verdict::kFaster;
  } else if (all.min > 1 && result.ratio > 1 + noise) {
    result.verdict = Verdict::kSlower;
  }
  return result;
}

}  // namespace plyfs::bench
