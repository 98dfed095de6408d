#include "sys/scheduling.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "sys/checked.h"

namespace plyfs::sys {
Result<ProcessorSet> ProcessorSet::of_thread(pid_t tid) {
  ProcessorSet set;
  const long bytes = ::syscall(SYS_sched_getaffinity, tid, sizeof set.words_, set.words_.data());
  if (bytes < 0) {
    return Errno{errno};
  }
  set.used_ = static_cast<std::size_t>(bytes) / sizeof(unsigned long);
  return set;
}

Result<ProcessorSet> ProcessorSet::of_this_thread() { return of_thread(0); }

ProcessorSet ProcessorSet::only(unsigned processor) {
  ProcessorSet set;
  if (processor < kMostProcessors) {
    set.used_ = processor / kWordBits + 1;
    set.words_[set.used_ - 1] = 1UL << (processor % kWordBits);
  }
  return set;
}

int ProcessorSet::count() const {
  int bits = 0;
  for (const unsigned long word : words_) {
    bits += std::popcount(word);
  }
  return bits;
}

bool ProcessorSet::contains(const ProcessorSet& other) const {
  for (std::size_t i = 0; i < words_.size(); ++i) {
    if ((other.words_[i] & ~words_[i]) != 0) {
      return false;
    }
  }
  return true;
}

unsigned ProcessorSet::next_after(unsigned processor) const {
  constexpr unsigned kBits = kMostProcessors;
  for (unsigned step = 1; step < kBits; ++step) {
    const unsigned at = (processor + step) % kBits;
    if ((words_[at / kWordBits] >> (at % kWordBits) & 1U) != 0) {
      return at;
    }
  }
  return processor;
}

Status ProcessorSet::apply() const {
  return checked(static_cast<int>(
      ::syscall(SYS_sched_setaffinity, 0, used_ * sizeof(unsigned long), words_.data())));
}

unsigned current_processor() {
  const int processor = ::sched_getcpu();
  return processor < 0 ? 0 : static_cast<unsigned>(processor);
}

Switches switches() {
  rusage usage{};
  (void)::getrusage(RUSAGE_THREAD, &usage);  // cannot fail: both arguments are good
  return {static_cast<std::uint64_t>(usage.ru_nvcsw), static_cast<std::uint64_t>(usage.ru_nivcsw)};
}

std::uint64_t sleeps() { return switches().sleeps; }

Status yield_to_everybody() {
  // <linux/ioprio.h>: for a thread, 0 for the caller; the class "best effort" in its middle.
  constexpr int kWhoProcess = 1;
  constexpr int kBestEffort = 2 << 13 | 4;
  TRY(checked(static_cast<int>(::syscall(SYS_ioprio_set, kWhoProcess, 0, kBestEffort))));
  const sched_param no_priority{};
  // The thread's, not the process's: 0 is the caller for the system call.
  return checked(::sched_setscheduler(0, SCHED_IDLE, &no_priority));
}

unsigned runnable_threads() {
  const UniqueFd file{::open("/proc/loadavg", O_RDONLY | O_CLOEXEC)};
  char text[128];
  const ssize_t got = file.valid() ? ::read(file.borrow().get(), text, sizeof text - 1) : -1;
  unsigned running = 0;
  if (got > 0) {
    text[got] = '\0';
    (void)std::sscanf(text, "%*s %*s %*s %u/", &running);
  }
  return running;
}

RunDelay::RunDelay() : file_(::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)) {}

std::chrono::nanoseconds RunDelay::so_far() const {
  char text[128];
  const ssize_t got = file_.valid() ? ::pread(file_.borrow().get(), text, sizeof text - 1, 0) : -1;
  unsigned long long delay_ns = 0;
  if (got > 0) {
    text[got] = '\0';
    (void)std::sscanf(text, "%*u %llu", &delay_ns);
  }
  return std::chrono::nanoseconds{delay_ns};
}

}  // namespace plyfs::sys
