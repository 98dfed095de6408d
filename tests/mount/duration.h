// How long a stress test goes on: one round, or as many as fit into PLYFS_STRESS_SECONDS.
//
// Two mounts and the host writing one volume for a minute, with plyfs under ThreadSanitizer, all
// three tests at the same time (2026-11-25, two processors that others used as well):
//
//     PLYFS_STRESS_SECONDS=60 PLYFS_BIN=$PWD/build-tsan/plyfs TSAN_OPTIONS=log_path=report
//       setarch -R build-check/tests/mount/plyfs-mount-tests '[volume][stress]' -c plyfs-fuse
//
// as root, as a user, and as a user over io_uring: every line and byte was there, and no report.
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
