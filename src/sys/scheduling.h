// On which processors threads may run.
#pragma once

#include <sys/types.h>

#include <vector>

#include "plyfs/result.h"

namespace plyfs::sys {

/// Processors that a thread may use. However many there are: glibc's cpu_set_t ends at 1024.
class ProcessorSet {
 public:
  /// Those of the thread `tid` of our pid namespace, 0 for the calling one (sched_getaffinity(2)).
  /// ESRCH when it has ended.
  static Result<ProcessorSet> of_thread(pid_t tid);
  static ProcessorSet only(unsigned processor);
  [[nodiscard]] int count() const;
  [[nodiscard]] bool contains(const ProcessorSet& other) const;
  /// Restricts the calling thread to these, and moves it there if it runs elsewhere.
  Status apply() const;
  bool operator==(const ProcessorSet&) const = default;

 private:
  std::vector<unsigned long> words_;  ///< as the system call has them
};

}  // namespace plyfs::sys
