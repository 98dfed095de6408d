// Ctrl-C and its like while something is half made: noted, so that it can be cleared away.
#pragma once

#include <csignal>

namespace plyfs::sys {

/// While one lives SIGINT, SIGTERM and SIGHUP are noted instead of ending the process; at the end
/// of its life one that came ends the process after all. One at a time, before there are threads.
class NotedInterrupts {
 public:
  NotedInterrupts();
  ~NotedInterrupts();
  NotedInterrupts(const NotedInterrupts&) = delete;
  NotedInterrupts& operator=(const NotedInterrupts&) = delete;

 private:
  struct sigaction before_[3] = {};
};

/// Whether one came while they are noted.
bool is_interrupted();

}  // namespace plyfs::sys
