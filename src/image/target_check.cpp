#include "image/target_check.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "image/target_file.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::image {
namespace {

using Identity = std::pair<dev_t, ino_t>;

Identity identity_of(const FileStat& stat) { return {stat.dev, stat.ino}; }

Result<std::vector<Identity>> roots_of(const dump::OpenStack& stack) {
  std::vector<Identity> roots;
  for (layer::LayerIndex index = stack.first(); index < stack.layers().size(); ++index) {
    const FileStat root = TRY(sys::stat_object({stack.layers()[index].root.borrow(), ""}));
    roots.push_back(identity_of(root));
  }
  const std::string& mountpoint = stack.options().mountpoint;
  if (const auto mounted = sys::open_directory_path(mountpoint.c_str())) {
    const FileStat root = TRY(sys::stat_object({mounted->borrow(), ""}));
    if (root.mount_root) {
      roots.push_back(identity_of(root));
    }
  }
  return roots;
}

}  // namespace

Result<bool> lies_in_stack(const std::string& target, const dump::OpenStack& stack) {
  const std::vector<Identity> roots = TRY(roots_of(stack));
  TargetPlace place = TRY(place_of(target));
  sys::UniqueFd at = std::move(place.directory);
  for (;;) {
    const FileStat stat = TRY(sys::stat_object({at.borrow(), ""}));
    if (std::ranges::find(roots, identity_of(stat)) != roots.end()) {
      return true;
    }
    auto above = sys::open_directory_at(at.borrow(), "..");
    if (stat.mount_root || !above) {
      return false;  // nobody reads a layer across mounts
    }
    at = *std::move(above);
  }
}

}  // namespace plyfs::image
