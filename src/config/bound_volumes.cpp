#include "config/bound_volumes.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sys/mount_tree.h"
#include "sys/open.h"
#include "sys/unmount.h"

namespace plyfs::config {
namespace {

/// Whether `entry`, which lies `relative` below a bound volume, came with it from the host, where
/// the same lies below the volume's source. What somebody has mounted there since is theirs.
bool came_along(const sys::MountEntry& entry, const std::string& source,
                const std::string& relative, const sys::MountTable& table) {
  const std::string there = (source == "/" ? "" : source) + "/" + relative;
  return std::ranges::any_of(table, [&](const sys::MountEntry& other) {
    return other.path == there && other.device == entry.device && other.root == entry.root;
  });
}

/// The directory in which a place lies, and its name there.
std::pair<std::string, std::string> split(const std::string& place) {
  const std::size_t slash = place.rfind('/');
  return slash == std::string::npos ? std::pair{std::string{"."}, place}
                                    : std::pair{place.substr(0, slash), place.substr(slash + 1)};
}

}  // namespace

BoundVolumes::BoundVolumes(std::string mountpoint, const std::vector<BoundPlace>& places)
    : mountpoint_(std::move(mountpoint)) {
  const auto table = sys::mount_table();
  for (const BoundPlace& bound : places) {
    add_place(bound, table ? *table : sys::MountTable{});
  }
}

void BoundVolumes::add_place(const BoundPlace& bound, const sys::MountTable& table) {
  const std::string path = mountpoint_ + '/' + bound.place;
  // The lowest: what lies over it was mounted there later, by somebody else.
  const sys::MountEntry* const own = sys::lowest_at(table, path);
  if (own == nullptr) {
    return;  // somebody has unmounted it before
  }
  bound_.push_back({bound.place, own->id});
  for (const sys::MountEntry* const entry : sys::mounted_below(table, path)) {
    const std::string relative = entry->path.substr(path.size() + 1);
    if (came_along(*entry, bound.source, relative, table)) {
      bound_.push_back({bound.place + '/' + relative, entry->id});
    }
  }
}

/// ESTALE: something else lies over it.
Status BoundVolumes::unmount_last(Taken& taken) {
  const auto [parent_path, name] = split(taken.place);
  const sys::UniqueFd root = TRY(sys::open_directory_path(mountpoint_.c_str()));
  const sys::UniqueFd parent = TRY(sys::open_beneath(root.borrow(), parent_path.c_str()));
  if (const auto object = sys::open_beneath(root.borrow(), taken.place.c_str())) {
    if (auto copy = sys::clone_tree(object->borrow(), sys::TreeAccess::kAsSource)) {
      taken.tree = std::move(*copy);
    }
  }
  return sys::unmount_at(parent.borrow(), name.c_str(), bound_.back().mount_id,
                         sys::UnmountMode::kNow);
}

Status BoundVolumes::unmount() {
  while (!bound_.empty()) {
    Taken taken{bound_.back().place, {}};
    const Status off = unmount_last(taken);
    // EINVAL: somebody has unmounted it meanwhile.
    if (!off && off.error() != EINVAL) {
      busy_ = mountpoint_ + '/' + taken.place;
      inside_ = mounts_inside(busy_);
      restore();
      return off.error() == ESTALE ? Errno{EBUSY} : off.error();
    }
    bound_.pop_back();
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

std::vector<std::string> mounts_inside(const std::string& path) {
  std::vector<std::string> inside;
  if (const auto table = sys::mount_table()) {
    for (const sys::MountEntry* const entry : sys::mounted_below(*table, path)) {
      inside.push_back(entry->path);
    }
  }
  std::ranges::reverse(inside);
  return inside;
}

}  // namespace plyfs::config
