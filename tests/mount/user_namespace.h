// A user and mount namespace of our own, for what the kernel grants an unprivileged user there.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace plyfs::tests {

/// A process that does nothing but keep the namespaces alive. Ids are mapped to themselves.
class UserNamespace {
 public:
  /// Made at the first call; ends with this process.
  static UserNamespace& shared();

  /// Runs `body` in a forked process inside the namespaces; returns its text.
  std::string run(const std::function<std::string()>& body) const;

  /// Prefix under which this process sees the namespace's mounts.
  [[nodiscard]] std::string root() const;

 private:
  UserNamespace();
  pid_t holder_ = -1;
};

}  // namespace plyfs::tests
