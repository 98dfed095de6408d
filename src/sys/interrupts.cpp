#include "sys/interrupts.h"

#include <atomic>

namespace plyfs::sys {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

// A signal handler can reach nothing else.
std::atomic<int> noted{0};
static_assert(std::atomic<int>::is_always_lock_free);

void note(int signal) { noted = signal; }

}  // namespace

NotedInterrupts::NotedInterrupts() {
  struct sigaction noting = {};
  noting.sa_handler = note;
  for (int i = 0; i < 3; ++i) {
    (void)::sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) {  // nohup
      (void)::sigaction(kSignals[i], &noting, nullptr);
    }
  }
}

NotedInterrupts::~NotedInterrupts() {
  for (int i = 0; i < 3; ++i) {
    (void)::sigaction(kSignals[i], &before_[i], nullptr);
  }
  if (const int signal = noted.exchange(0); signal != 0) {
    (void)::raise(signal);
  }
}

bool is_interrupted() { return noted.load() != 0; }

}  // namespace plyfs::sys
