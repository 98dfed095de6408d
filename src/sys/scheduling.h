// On which processors threads may run.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

/// Processors that a thread may use. However many there are: glibc's cpu_set_t ends at 1024. No
/// memory is allocated, so that a worker can move also when there is none.
class ProcessorSet {
 public:
  /// Those of the calling thread (sched_getaffinity(2)).
  static Result<ProcessorSet> of_this_thread();
  /// Those of another one. It waits for nothing that the thread may hold: the kernel takes spin
  /// locks only (sched_getaffinity() in kernel/sched), unlike all that /proc tells.
  static Result<ProcessorSet> of_thread(pid_t tid);
  static ProcessorSet only(unsigned processor);
  [[nodiscard]] int count() const;
  [[nodiscard]] bool contains(const ProcessorSet& other) const;
  /// The member after `processor`, in a circle; `processor` itself where there is no other.
  [[nodiscard]] unsigned next_after(unsigned processor) const;
  /// Restricts the calling thread to these, and moves it there if it runs elsewhere.
  Status apply() const;
  bool operator==(const ProcessorSet& other) const { return words_ == other.words_; }

 private:
  static constexpr std::size_t kMostProcessors = 8192;  ///< NR_CPUS of the largest kernels
  static constexpr std::size_t kWordBits = 8 * sizeof(unsigned long);
  std::array<unsigned long, kMostProcessors / kWordBits> words_{};  ///< as the system call has them
  std::size_t used_ = 0;                                            ///< words
};

/// Where the calling thread runs.
unsigned current_processor();

/// Of the calling thread, so far: getrusage(2). Costs a fifth of a microsecond.
struct Switches {
  std::uint64_t sleeps = 0;       ///< it waited for something: ru_nvcsw
  std::uint64_t preemptions = 0;  ///< another thread went first on its processor: ru_nivcsw
};
Switches switches();
std::uint64_t sleeps();

/// SCHED_IDLE for the calling thread: anybody else goes first. Without privileges there is no way
/// back (sched(7)). Its I/O keeps the ordinary priority, which otherwise would follow the policy
/// (ioprio_set(2)).
Status yield_to_everybody();

/// How many threads of the machine run or want to, the caller among them: proc_loadavg(5). 0 where
/// that cannot be read.
unsigned runnable_threads();

/// How long the calling thread waited for a processor although it could have run
/// (/proc/thread-self/schedstat). Used by the thread that made it.
class RunDelay {
 public:
  RunDelay();
  /// Since the thread began; 0 where the kernel does not tell.
  [[nodiscard]] std::chrono::nanoseconds so_far() const;

 private:
  UniqueFd file_;
};

}  // namespace plyfs::sys
