// What this process is and uses.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "plyfs/result.h"

namespace plyfs::sys {

pid_t process_id();
uid_t effective_uid();
/// The same user outside of our user namespace; itself where there is none around us.
uid_t outside_uid();
/// Whether there is a process of that number in our pid namespace.
bool process_exists(pid_t pid);

struct ProcessFacts {
  std::uint64_t resident_bytes = 0;
  std::uint64_t peak_resident_bytes = 0;
  std::uint64_t open_files = 0;
  std::uint64_t threads = 0;
  std::uint64_t user_cpu_us = 0;
  std::uint64_t system_cpu_us = 0;
};
/// Reads /proc/self; what cannot be read stays 0.
ProcessFacts process_facts();

}  // namespace plyfs::sys
