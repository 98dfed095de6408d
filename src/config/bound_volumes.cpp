#include "config/bound_volumes.h"

#include <cerrno>
#include <utility>

#include "plyfs/volume_names.h"
#include "sys/mount_tree.h"
#include "sys/object_xattr.h"
#include "sys/open.h"
#include "sys/unmount.h"

namespace plyfs::config {

Result<BoundVolumes> BoundVolumes::of(const std::string& mountpoint) {
  BoundVolumes bound;
  bound.mountpoint_ = mountpoint;
  const sys::UniqueFd root = TRY(sys::open_directory_path(mountpoint.c_str()));
  const auto places = TRY(sys::get_xattr({root.borrow(), ""}, kBoundVolumesXattr));
  for (std::size_t at = 0; places && at < places->size();) {
    const std::string place = places->c_str() + at;
    at += place.size() + 1;
    bound.places_.push_back(place);
  }
  return bound;
}

Status BoundVolumes::unmount() {
  while (!places_.empty()) {
    const std::string path = mountpoint_ + '/' + places_.back();
    Taken taken{places_.back(), {}};
    if (const auto object = sys::open_path(path.c_str())) {
      if (auto copy = sys::clone_tree(object->borrow(), sys::TreeAccess::kAsSource)) {
        taken.tree = std::move(*copy);
      }
    }
    const Status off = sys::unmount_directly(path, sys::UnmountMode::kNow);
    // EINVAL: somebody has unmounted it before.
    if (!off && off.error() != EINVAL) {
      busy_ = path;
      restore();
      return off;
    }
    places_.pop_back();
    if (off) {
      taken_.push_back(std::move(taken));
    }
  }
  return {};
}

void BoundVolumes::restore() {
  const auto root = sys::open_directory_path(mountpoint_.c_str());
  while (root && !taken_.empty()) {
    const Taken& taken = taken_.back();
    const auto target = sys::open_beneath(root->borrow(), taken.place.c_str());
    if (target && taken.tree.valid()) {
      (void)sys::attach_tree(taken.tree.borrow(), target->borrow());
    }
    taken_.pop_back();
  }
}

}  // namespace plyfs::config
