#include "sys/process_facts.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "sys/local_socket.h"

namespace plyfs::sys {
namespace {

std::uint64_t microseconds(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1000000U +
         static_cast<std::uint64_t>(time.tv_usec);
}

}  // namespace

pid_t process_id() { return ::getpid(); }
uid_t effective_uid() { return ::geteuid(); }

uid_t outside_uid() {
  const uid_t uid = ::geteuid();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> map{std::fopen("/proc/self/uid_map", "re"),
                                                            std::fclose};
  unsigned inside = 0;
  unsigned outside = 0;
  unsigned count = 0;
  while (map && std::fscanf(map.get(), "%u %u %u", &inside, &outside, &count) == 3) {
    if (uid >= inside && uid - inside < count) {
      return outside + (uid - inside);
    }
  }
  return uid;
}

bool process_exists(pid_t pid) { return ::kill(pid, 0) == 0 || errno != ESRCH; }

ProcessFacts process_facts() {
  ProcessFacts facts;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> status{
      std::fopen("/proc/self/status", "re"), std::fclose};
  char line[256];
  while (status && std::fgets(line, sizeof line, status.get()) != nullptr) {
    unsigned long long value = 0;
    if (std::sscanf(line, "VmRSS: %llu kB", &value) == 1) {
      facts.resident_bytes = value * 1024;
    } else if (std::sscanf(line, "VmHWM: %llu kB", &value) == 1) {
      facts.peak_resident_bytes = value * 1024;
    } else if (std::sscanf(line, "Threads: %llu", &value) == 1) {
      facts.threads = value;
    }
  }
  const auto files = names_in("/proc/self/fd");
  facts.open_files = files.empty() ? 0 : files.size() - 1;  // one is the listing itself
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    facts.user_cpu_us = microseconds(usage.ru_utime);
    facts.system_cpu_us = microseconds(usage.ru_stime);
  }
  return facts;
}

}  // namespace plyfs::sys
