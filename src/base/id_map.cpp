#include "base/id_map.h"

#include <algorithm>

namespace plyfs {
namespace {

// Ids on disk that are usually nobody's: the overflow id, and what NFS calls nobody.
constexpr std::uint32_t kNobodies[] = {65534, UINT32_MAX - 1};

}  // namespace

bool IdMap::maps_disk(std::uint32_t disk) const {
  return std::ranges::any_of(mappings_, [&](const IdMapping& mapping) {
    return disk >= mapping.outside && disk - mapping.outside < mapping.count;
  });
}

std::uint32_t IdMap::to_view(std::uint32_t disk) const {
  if (squash_) {
    return *squash_;
  }
  if (mappings_.empty()) {
    return disk;
  }
  for (const IdMapping& mapping : mappings_) {
    if (disk >= mapping.outside && disk - mapping.outside < mapping.count) {
      return mapping.inside + (disk - mapping.outside);
    }
  }
  return kUnmappedId;
}

Result<std::uint32_t> IdMap::to_disk(std::uint32_t view) const {
  if (mappings_.empty()) {
    return view;
  }
  for (const IdMapping& mapping : mappings_) {
    if (view >= mapping.inside && view - mapping.inside < mapping.count) {
      return mapping.outside + (view - mapping.inside);
    }
  }
  return Errno{EINVAL};
}

Result<std::uint32_t> IdMap::to_disk_of_maker(std::uint32_t caller,
                                              std::uint32_t caller_uid) const {
  const auto mapped = to_disk(caller);
  if (mapped) {
    return mapped;
  }
  for (const std::uint32_t nobody : kNobodies) {
    if (caller_uid == 0 && !maps_disk(nobody)) {
      return nobody;
    }
  }
  return Errno{EOVERFLOW};
}

}  // namespace plyfs
