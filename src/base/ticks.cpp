#include "base/ticks.h"

namespace plyfs {
namespace {

const TickScale since_start;

}  // namespace

std::uint64_t ticks_in(std::chrono::nanoseconds time) {
  return static_cast<std::uint64_t>(static_cast<double>(time.count()) / since_start.ns_per_tick());
}

}  // namespace plyfs
