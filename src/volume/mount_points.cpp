#include "volume/mount_points.h"

namespace plyfs::volume {

const MountPoints::Entry* MountPoints::entry(DirectoryId parent, std::string_view name) const {
  const std::vector<Entry>* const entries = in(parent);
  if (entries == nullptr) [[likely]] {
    return nullptr;
  }
  for (const Entry& candidate : *entries) {
    if (candidate.name == name) {
      return &candidate;
    }
  }
  return nullptr;
}

bool MountPoints::add(DirectoryId parent, std::string_view name, VolumeNode& root) {
  if (entry(parent, name) != nullptr) {
    return false;
  }
  directories_[parent].push_back({std::string{name}, &root});
  return true;
}

void MountPoints::keep(DirectoryId parent, std::string_view name) {
  if (entry(parent, name) == nullptr) {
    directories_[parent].push_back({std::string{name}, nullptr});
  }
}

VolumeNode* MountPoints::find(DirectoryId parent, std::string_view name) const {
  const Entry* const found = entry(parent, name);
  return found == nullptr ? nullptr : found->root;
}

bool MountPoints::is_kept(DirectoryId parent, std::string_view name) const {
  return entry(parent, name) != nullptr;
}

const std::vector<MountPoints::Entry>* MountPoints::in(DirectoryId parent) const {
  const auto found = directories_.find(parent);
  return found == directories_.end() ? nullptr : &found->second;
}

}  // namespace plyfs::volume
