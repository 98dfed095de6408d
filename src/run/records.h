// What runs: one directory for each run under $PLYFS_HOME/run, with a lock that ends with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "plyfs/mount.h"
#include "plyfs/result.h"
#include "store/home.h"
#include "sys/unique_fd.h"

namespace plyfs::run {

struct RunRecord {
  std::string id;    ///< the name of its directory
  std::string name;  ///< of --name; empty: none
  int pid = 0;       ///< of `plyfs run`
  int init_pid = 0;  ///< process 1 inside, as seen from here
  std::uint64_t pid_namespace = 0;
  std::vector<std::string> command;
  std::string engine;
  std::string why;
  std::string started;
  bool user_range = false;  ///< there are subordinate ids inside
};

[[nodiscard]] std::string runs_directory(const store::Home& home);
store::Json as_json(const RunRecord& record);
Status write_run(const store::Home& home, const RunRecord& record);
/// Those whose lock is held.
std::vector<RunRecord> live_runs(const store::Home& home);
/// By name, or by id.
std::optional<RunRecord> find_run(const store::Home& home, const std::string& wanted);

/// A directory for a new run, locked for as long as `lock` lives. Makes the store's directories.
std::optional<Failure> make_run_directory(const store::Home& home, std::string& id,
                                          sys::UniqueFd& lock);
/// Removes what a run keeps there; the caller has unmounted it, and may be in its user namespace.
void remove_run(const store::Home& home, const std::string& id);
/// Removes what runs that were killed have left. The caller is in the user namespace of runs: what
/// their programs made belongs to other ids.
std::optional<Failure> remove_dead_runs(const store::Home& home);

}  // namespace plyfs::run
