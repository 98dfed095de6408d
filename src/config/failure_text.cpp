#include "config/failure_text.h"

#include <cstddef>

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
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes.substr(0, kShownBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      text.append("\\x").append(1, kDigits[byte >> 4]).append(1, kDigits[byte & 15]);
    } else {
      text.push_back(c);
    }
  }
  return bytes.size() <= kShownBytes ? text : text + "...";
}

Failure usage_failure(const FailureParts& parts) { return failure(parts, kExitUsage); }
Failure mount_failure(const FailureParts& parts) { return failure(parts, kExitMount); }
Failure system_failure(const FailureParts& parts) { return failure(parts, kExitSystem); }

}  // namespace plyfs::config
