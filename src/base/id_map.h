// Owners: ids on disk and ids in the view (uidmapping=, gidmapping=, squash_to_*).
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "plyfs/options.h"
#include "plyfs/result.h"

namespace plyfs {

/// Immutable. `to_view` never fails: unmapped ids appear as the overflow id, as in a user
/// namespace. `to_disk` of an id without a mapping is EINVAL, as chown(2) in a user namespace.
class IdMap {
 public:
  IdMap(std::vector<IdMapping> mappings, std::optional<std::uint32_t> squash)
      : mappings_(std::move(mappings)), squash_(squash) {}
  [[nodiscard]] std::uint32_t to_view(std::uint32_t disk) const;
  [[nodiscard]] Result<std::uint32_t> to_disk(std::uint32_t view) const;
  [[nodiscard]] bool squashed() const { return squash_.has_value(); }

 private:
  std::vector<IdMapping> mappings_;
  std::optional<std::uint32_t> squash_;
};

}  // namespace plyfs
