#include "sys/scheduling.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>

namespace plyfs::sys {
namespace {

constexpr std::size_t kMostProcessors = 8192;  // NR_CPUS of the largest kernels

}  // namespace

Result<ProcessorSet> ProcessorSet::of_thread(pid_t tid) {
  unsigned long words[kMostProcessors / 8 / sizeof(unsigned long)];
  const long bytes = ::syscall(SYS_sched_getaffinity, tid, sizeof words, words);
  if (bytes < 0) {
    return Errno{errno};
  }
  ProcessorSet set;
  set.words_.assign(words, words + static_cast<std::size_t>(bytes) / sizeof(unsigned long));
  return set;
}

ProcessorSet ProcessorSet::only(unsigned processor) {
  constexpr std::size_t kBits = 8 * sizeof(unsigned long);
  ProcessorSet set;
  set.words_.resize(processor / kBits + 1);
  set.words_.back() = 1UL << (processor % kBits);
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
  for (std::size_t i = 0; i < other.words_.size(); ++i) {
    const unsigned long mine = i < words_.size() ? words_[i] : 0;
    if ((other.words_[i] & ~mine) != 0) {
      return false;
    }
  }
  return true;
}

Status ProcessorSet::apply() const {
  if (::syscall(SYS_sched_setaffinity, 0, words_.size() * sizeof(unsigned long), words_.data()) !=
      0) {
    return Errno{errno};
  }
  return {};
}

}  // namespace plyfs::sys
