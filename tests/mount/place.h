// A directory to call plyfs in, as users do.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "call.h"
#include "process.h"
#include "tree.h"

namespace plyfs::tests {

bool is_mounted(const std::string& mountpoint);
/// By umount2(2), or as a user by fusermount3.
std::string unmount(const std::string& mountpoint);

/// A private directory to call plyfs in; every daemon that appears must end with the unmount.
class Place {
 public:
  explicit Place(const Items& items);
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place();

  std::string operator()(const std::string& path) const { return root_ + "/" + path; }
  [[nodiscard]] const std::string& root() const { return root_; }

  /// Runs plyfs here; returns when it has closed its output, as callers wait.
  [[nodiscard]] Ran plyfs(Arguments arguments) const;
  [[nodiscard]] std::vector<pid_t> daemons() const;

  /// Waits for the end of what a refused call left running; only `running` may go on.
  void check_nothing_runs(const std::vector<pid_t>& running = {}) const;
  /// Checks that `ran` mounted silently, unmounts, and checks that the daemon ends well.
  void check_mounted(const Ran& ran, const Picture& expected) const;
  void check_and_unmount(const Picture& expected) const;
  void end() const;

 private:
  std::string root_;
  std::vector<pid_t> before_;
};

}  // namespace plyfs::tests
