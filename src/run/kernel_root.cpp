#include "run/kernel_root.h"

#include <algorithm>
#include <vector>

#include "config/failure_text.h"
#include "run/trouble.h"
#include "sys/mount_tree.h"
#include "sys/object_stat.h"
#include "sys/open.h"
#include "sys/sandbox/mounts.h"
#include "sys/sandbox/place.h"

namespace plyfs::run {
namespace {

Status bind_volume(const VolumeMount& volume, sys::BorrowedFd root) {
  const sys::UniqueFd source = TRY(sys::open_path(volume.source.c_str()));
  const FileStat stat = TRY(sys::stat_object({source.borrow(), ""}));
  const sys::UniqueFd tree = TRY(sys::clone_tree(
      source.borrow(), volume.read_only ? sys::TreeAccess::kReadOnly : sys::TreeAccess::kAsSource));
  const auto missing = stat.type() == kTypeDirectory ? sys::sandbox::Missing::kMakeDirectory
                                                     : sys::sandbox::Missing::kMakeFile;
  const sys::UniqueFd target = TRY(sys::sandbox::place_in_root(root, volume.destination, missing));
  return sys::attach_tree(tree.borrow(), target.borrow());
}

}  // namespace

MountOptions lower_of(const MountOptions& mount, const std::string& mountpoint) {
  MountOptions lower = mount;
  lower.upper.reset();
  lower.work.reset();
  lower.read_only = true;
  lower.mountpoint = mountpoint;
  lower.sync = SyncPolicy::kAuto;
  return lower;
}

std::optional<Failure> mount_kernel_root(const MountOptions& mount, const std::string& lower,
                                         const std::string& root) {
  const bool is_volatile = mount.sync == SyncPolicy::kVolatile;
  if (const auto wrong = sys::sandbox::mount_overlay(
          root, {lower, *mount.upper, mount.work.value_or(""), is_volatile})) {
    return explain(*wrong);
  }
  const auto directory = sys::open_directory_path(root.c_str());
  if (!directory) {
    return config::system_failure(
        {"cannot open the root directory", root, directory.error(), "see the system's log"});
  }
  std::vector<VolumeMount> volumes = mount.volumes;
  // What lies above must be there before what lies in it.
  std::ranges::stable_sort(volumes, {}, [](const VolumeMount& volume) {
    return std::ranges::count(volume.destination, '/');
  });
  for (const VolumeMount& volume : volumes) {
    if (const Status bound = bind_volume(volume, directory->borrow()); !bound) {
      return config::system_failure({"cannot place volume", volume.destination, bound.error(),
                                     "choose another path in the root directory"});
    }
  }
  return std::nullopt;
}

}  // namespace plyfs::run
