#include "config/failure_text.h"

#include <cstddef>

#include "base/text.h"

namespace plyfs::config {
namespace {

// Longer than any path the kernel takes; an option string of 500 layers is not worth repeating.
constexpr std::size_t kShownBytes = 4200;

Failure failure(const FailureParts& parts, int exit_code) {
  std::string line{parts.what};
  line.append(": ").append(shown(parts.subject));
  line.append(": ").append(parts.error.message());
  line.append("; ").append(parts.remedy);
  return Failure{std::move(line), exit_code};
}

}  // namespace

// A backslash stays itself, unlike in the log: the reader compares with what was typed.
std::string shown(std::string_view bytes) {
  std::string text = escaped(bytes.substr(0, kShownBytes), Backslash::kKeep);
  return bytes.size() <= kShownBytes ? text : text + "...";
}

Failure usage_failure(const FailureParts& parts) { return failure(parts, kExitUsage); }
Failure mount_failure(const FailureParts& parts) { return failure(parts, kExitMount); }
Failure system_failure(const FailureParts& parts) { return failure(parts, kExitSystem); }

}  // namespace plyfs::config
