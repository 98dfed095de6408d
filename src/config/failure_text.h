// The one form in which a failure is told: "<what failed>: <subject>: <strerror>; <remedy>".
#pragma once

#include <string>
#include <string_view>

#include "plyfs/mount.h"
#include "plyfs/result.h"

namespace plyfs::config {

inline constexpr int kExitUsage = 1;
inline constexpr int kExitSystem = 2;
inline constexpr int kExitMount = 32;

/// The parts of a failure line. `subject` is a path or option as the user wrote it; bytes that
/// would break the line are shown escaped.
struct FailureParts {
  std::string_view what;
  std::string_view subject;
  Errno error;
  std::string_view remedy;
};

/// A call that cannot be right on any machine (exit code 1).
Failure usage_failure(const FailureParts& parts);
/// A mount or umount that this machine refuses (exit code 32).
Failure mount_failure(const FailureParts& parts);
/// A part of the system that is needed before mounting (exit code 2).
Failure system_failure(const FailureParts& parts);

/// `bytes` on one line, shortened when very long: for messages only.
std::string shown(std::string_view bytes);

}  // namespace plyfs::config
