#pragma once

// One workload on one mount: the body runs in a child, as the user and in the mount's namespace,
// and asks the runner for what only that may do.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fixture.h"
#include "system.h"

namespace plyfs::bench {

enum class Unit { kSeconds, kBytes };

/// One line of a table: what is measured.
struct Row {
  std::string id;
  std::string title;
  Unit unit = Unit::kSeconds;
  double target = 0;  ///< plyfs must be at most this times `target_reference`; 0: none
  std::string target_reference = "overlayfs";
};

/// What the body sees.
class Worker {
 public:
  Worker(std::string root, std::string scratch, const Fixture& fixture, const Identity& user,
         int channel)
      : root_(std::move(root)),
        scratch_(std::move(scratch)),
        fixture_(fixture),
        user_(user),
        channel_(channel) {}

  [[nodiscard]] const std::string& root() const { return root_; }
  [[nodiscard]] std::string path(const std::string& relative) const {
    return root_ + "/" + relative;
  }
  [[nodiscard]] std::string file(std::uint32_t index) const {
    return path(file_path(fixture_, index));
  }
  [[nodiscard]] const Fixture& fixture() const { return fixture_; }
  [[nodiscard]] const std::string& scratch() const { return scratch_; }
  [[nodiscard]] const Identity& user() const { return user_; }

  /// Times `work` and records the seconds of one of its `operations`.
  void measure(const std::string& row, double operations, const std::function<void()>& work) const;
  void record(const std::string& row, double value) const;
  /// Writes back and drops the caches of the kernel. Throws where nobody is root.
  void drop_caches() const;
  /// The daemon's memory now, and at its peak; 0 without a daemon.
  [[nodiscard]] double daemon_resident() const;
  [[nodiscard]] double daemon_peak() const;
  [[nodiscard]] double daemon_processor_seconds() const;

 private:
  [[nodiscard]] std::string ask(const std::string& question) const;

  std::string root_;
  std::string scratch_;
  Fixture fixture_;
  Identity user_;
  int channel_;
};

using Body = std::function<void(const Worker&)>;

struct Outcome {
  std::map<std::string, double> values;  ///< by row
  double daemon_seconds = 0;             ///< processor time that the daemon took for it
};

/// Throws what the body threw, or that it took longer than `limit_s` and was killed.
Outcome run_worker(const Mount& mount, const Fixture& fixture, const Storage& storage,
                   const Identity& user, const Body& body, double limit_s);

/// Set by the signal that interrupts us; run_worker then throws.
extern volatile bool interrupted;

}  // namespace plyfs::bench
