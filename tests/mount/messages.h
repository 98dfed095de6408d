// How many messages the kernel sends to plyfs, which is what most operations cost.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <utility>

#include "stack.h"

namespace plyfs::tests {

constexpr int kTimes = 200;

/// By kind of request, as plyfs counts them.
using Messages = std::map<std::string, int>;

/// All so far of the mount at `mountpoint`, which must have one worker (threads=1) or be over
/// io_uring.
Messages counted(const std::string& mountpoint);

/// What some action costs in messages, and how long it took.
struct Cost {
  Messages messages;
  int ticks = 0;  ///< of the kernel's timer, at most: a millisecond each

  [[nodiscard]] int of(const std::string& kind) const;
  [[nodiscard]] std::string told() const;  ///< "getattr 200, lookup 200"
  [[nodiscard]] int all() const;
};

Cost difference(const Messages& before, const Messages& after);

/// What `action` costs when it is done kTimes more.
template <typename Action>
Cost cost_of(const Stack& stack, const Action& action) {
  using std::chrono::steady_clock;
  action();
  (void)counted(stack());  // its process closes what it inherited: the only FLUSH
  const Messages before = counted(stack());
  const auto began = steady_clock::now();
  for (int i = 0; i < kTimes; ++i) {
    action();
  }
  const auto length = steady_clock::now() - began;
  Cost cost = difference(before, counted(stack()));
  cost.ticks = 1 + static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(length).count());
  return cost;
}

/// The least that it costs in some tries: others may drop the kernel's caches meanwhile.
template <typename Action>
Cost least_cost_of(const Stack& stack, const Action& action) {
  constexpr int kTries = 5;
  Cost least = cost_of(stack, action);
  for (int i = 1; i < kTries; ++i) {
    Cost next = cost_of(stack, action);
    if (next.all() < least.all()) {
      least = std::move(next);
    }
  }
  return least;
}

}  // namespace plyfs::tests
