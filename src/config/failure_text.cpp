#include "config/failure_text.h"

#include <cstddef>

#include "base/log.h"

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

std::string shown(std::string_view bytes) {
  if (bytes.size() <= kShownBytes) {
    return log::printable(bytes);
  }
  return log::printable(bytes.substr(0, kShownBytes)) + "...";
}

Failure usage_failure(const FailureParts& parts) { return failure(parts, kExitUsage); }
Failure mount_failure(const FailureParts& parts) { return failure(parts, kExitMount); }
Failure system_failure(const FailureParts& parts) { return failure(parts, kExitSystem); }

}  // namespace plyfs::config
