// How long a stress test goes on: one round, or as many as fit into PLYFS_STRESS_SECONDS.
#pragma once

#include <chrono>
#include <cstdlib>
#include <string>

namespace plyfs::tests {

/// Calls `round(number)` once, and again while the seconds last that the environment grants.
template <typename Round>
void rounds(const Round& round) {
  const char* const granted = std::getenv("PLYFS_STRESS_SECONDS");
  const std::chrono::seconds length{granted == nullptr ? 0 : std::stol(granted)};
  const auto began = std::chrono::steady_clock::now();
  int number = 0;
  do {
    round(number++);
  } while (std::chrono::steady_clock::now() - began < length);
}

}  // namespace plyfs::tests
