// A root directory of busybox alone, and a store, for `plyfs run`.
#pragma once

#include <string>
#include <vector>

#include "process.h"

namespace plyfs::tests {

/// What is left in its store is checked when it goes.
class RunHost {
 public:
  RunHost();
  ~RunHost();
  RunHost(const RunHost&) = delete;
  RunHost& operator=(const RunHost&) = delete;

  [[nodiscard]] std::string operator()(const std::string& path) const { return root_ + "/" + path; }
  /// "plyfs" with these arguments, and this store.
  [[nodiscard]] Arguments command(const Arguments& arguments) const;
  [[nodiscard]] Ran plyfs(const Arguments& arguments) const;
  /// `plyfs run --lower ROOT OPTIONS -- sh -c SCRIPT`
  [[nodiscard]] Ran run_script(const std::string& script, const Arguments& options = {}) const;
  [[nodiscard]] Arguments script_command(const std::string& script,
                                         const Arguments& options = {}) const;
  /// What runs have left: names below the store's run directory.
  [[nodiscard]] std::vector<std::string> left_overs() const;

 private:
  std::string root_;
};

/// Whether runs are possible here; says so if not.
bool can_run();
/// Whether this user has subordinate ids, or is root; says so if not.
bool has_many_ids();

}  // namespace plyfs::tests
