// Other processes: commands, forked pieces of a test, daemons, and the watchdog over all of them.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernel_version.h"

namespace plyfs::tests {

using Arguments = std::vector<std::string>;

struct Ran {
  int exit_code = -1;  ///< 128+N after signal N
  std::string out;
  std::string err;
};

/// Runs a command to its end; `directory` is where it runs (empty: here).
Ran run(const Arguments& command, const std::string& directory = {});

/// Runs `body` in a forked process and returns what it returned; "<died>" if it died.
/// Nothing in `body` may assert.
std::string in_child(const std::function<std::string()>& body);

/// in_child() as another user (and one group). Root only.
std::string as_user(uid_t uid, gid_t gid, const std::function<std::string()>& body);

using Environment = std::map<std::string, std::string>;

/// Starts a command and returns its pid. It dies with this process. stdin is /dev/null.
pid_t start(const Arguments& command, const Environment& environment = {});

/// Waits for a child to end. Returns its exit code, 128+N after a signal, -1 when it still runs
/// after `limit_s` seconds (a limit for hangs, never a measure).
int wait_for(pid_t pid, int limit_s);

/// While it lives, a hang longer than `limit_s` kills every daemon of guard_daemon(): the hung
/// system call then fails instead of blocking the run for ever.
class Watchdog {
 public:
  explicit Watchdog(unsigned limit_s);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
};
void guard_daemon(pid_t pid);
void release_daemon(pid_t pid);

/// From now on orphaned descendants (daemons that went to the background) become our children.
void adopt_orphans();

/// Whether this run is root's; the same answer in as_user().
bool is_root();

/// Processes whose parent is this one, daemons that were orphaned among them.
std::vector<pid_t> children();

/// Empties the kernel's caches of names, inodes and pages. Root only.
void drop_caches();

}  // namespace plyfs::tests
