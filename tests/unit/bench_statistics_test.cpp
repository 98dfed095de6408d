// What plyfs-bench may say of its samples.
#include "../../bench/runner/statistics.h"
#include "catch.h"

namespace plyfs::bench {
namespace {

constexpr double kNoise = 0.05;

TEST_CASE("the median is the middle sample, or the mean of the two middle ones", "[bench]") {
  CHECK(median({}) == 0);
  CHECK(median({7}) == 7);
  CHECK(median({9, 1, 2}) == 2);
  CHECK(median({4, 1, 3, 100}) == Approx(3.5));
}

TEST_CASE("a summary has count, median, smallest and largest", "[bench]") {
  const Summary all = summarise({3, 1, 2});
  CHECK(all.count == 3);
  CHECK(all.median == 2);
  CHECK(all.min == 1);
  CHECK(all.max == 3);
  CHECK(summarise({}).count == 0);
}

TEST_CASE("the spread is half the range as a share of the median", "[bench]") {
  CHECK(spread({}) == 0);
  CHECK(spread({10, 9, 11}) == Approx(0.1));
}

TEST_CASE("a ratio is that of the medians, its range that of the rounds", "[bench]") {
  const Comparison found = compare({2, 4, 6}, {1, 2, 6}, kNoise);
  CHECK(found.ratio == Approx(2));
  CHECK(found.low == Approx(1));
  CHECK(found.high == Approx(2));
}

TEST_CASE("faster or slower is what every round shows beyond the noise", "[bench]") {
  CHECK(compare({1, 1.1, 0.9}, {2, 2, 2}, kNoise).verdict == Verdict::kFaster);
  CHECK(compare({2, 2, 2}, {1, 1.1, 0.9}, kNoise).verdict == Verdict::kSlower);
  SECTION("one round disagrees") {
    CHECK(compare({1, 1, 2.1}, {2, 2, 2}, kNoise).verdict == Verdict::kWithinNoise);
  }
  SECTION("all agree, but by less than equal work differs") {
    CHECK(compare({0.97, 0.97, 0.97}, {1, 1, 1}, kNoise).verdict == Verdict::kWithinNoise);
    CHECK(compare({1.04, 1.04, 1.04}, {1, 1, 1}, kNoise).verdict == Verdict::kWithinNoise);
    CHECK(compare({1.04, 1.04, 1.04}, {1, 1, 1}, 0.03).verdict == Verdict::kSlower);
  }
  SECTION("one round alone shows nothing") {
    CHECK(compare({1}, {9}, kNoise).verdict == Verdict::kWithinNoise);
  }
}

TEST_CASE("nothing is said without samples of both", "[bench]") {
  CHECK(compare({}, {1, 2}, kNoise).verdict == Verdict::kUnknown);
  CHECK(compare({1, 2}, {}, kNoise).verdict == Verdict::kUnknown);
  CHECK(compare({1, 2}, {0, 0}, kNoise).verdict == Verdict::kUnknown);
}

}  // namespace
}  // namespace plyfs::bench
