#include "base/id_map.h"

namespace plyfs {
namespace {

constexpr std::uint32_t kOverflowId = 65534;

}  // namespace

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
  return kOverflowId;
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

}  // namespace plyfs
