#pragma once

// What may be said of a few samples from a noisy machine. Pure functions.

#include <cstddef>
#include <vector>

namespace plyfs::bench {

using Samples = std::vector<double>;

/// The middle value, or the mean of the two middle ones. 0 for no samples.
double median(Samples samples);

struct Summary {
  std::size_t count = 0;
  double median = 0;
  double min = 0;
  double max = 0;
};
Summary summarise(const Samples& samples);

/// Half the distance from the smallest to the largest sample, as a share of the median.
double spread(const Samples& samples);

enum class Verdict { kFaster, kSlower, kWithinNoise, kUnknown };

struct Comparison {
  double ratio = 0;  ///< median of the subject / median of the reference
  double low = 0;    ///< smallest and largest ratio of samples that were taken in one round
  double high = 0;
  Verdict verdict = Verdict::kUnknown;
};

/// Compares samples that were taken in turns: subject[i] and reference[i] are of one round.
/// Something is faster (its values are smaller) or slower only if every round says so, and the
/// ratio is farther from 1 than `noise`, the share by which equal work differs on this machine. One
/// round shows nothing of the noise, so it takes two for any verdict; kUnknown if either is
/// missing.
Comparison compare(const Samples& subject, const Samples& reference, double noise);

}  // namespace plyfs::bench
