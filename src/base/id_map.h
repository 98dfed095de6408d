// Owners: ids on disk and ids in the view (uidmapping=, gidmapping=, squash_to_*).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "plyfs/options.h"
#include "plyfs/result.h"

namespace plyfs {

/// What an id without a mapping is shown as. To the kernel it is nobody's, not even root's: it
/// shows the overflow id, gives no owner's or group's rights, and refuses changes (EOVERFLOW,
/// EPERM).
inline constexpr std::uint32_t kUnmappedId = UINT32_MAX;

/// Immutable.
class IdMap {
 public:
  IdMap(std::vector<IdMapping> mappings, std::optional<std::uint32_t> squash)
      : mappings_(std::move(mappings)), squash_(squash) {}
  [[nodiscard]] std::uint32_t to_view(std::uint32_t disk) const;
  /// EINVAL for an id without a mapping, as chown(2) in a user namespace.
  [[nodiscard]] Result<std::uint32_t> to_disk(std::uint32_t view) const;
  /// The id for what a caller makes. Root outside of the mapping, who sets up what others are
  /// shown, makes what is nobody's in the view; other callers without a mapping: EOVERFLOW.
  [[nodiscard]] Result<std::uint32_t> to_disk_of_maker(std::uint32_t caller,
                                                       std::uint32_t caller_uid) const;
  [[nodiscard]] bool squashed() const { return squash_.has_value(); }
  /// Whether ids in the view may mean somebody else on disk.
  [[nodiscard]] bool changes() const { return squash_ || !mappings_.empty(); }

 private:
  [[nodiscard]] bool maps_disk(std::uint32_t disk) const;

  std::vector<IdMapping> mappings_;
  std::optional<std::uint32_t> squash_;
};

}  // namespace plyfs
