#include "path_model.h"

namespace plyfs::difftest {
namespace {

PathKind kind_of(EntryKind kind) {
  switch (kind) {
    case EntryKind::kDirectory:
      return PathKind::kDirectory;
    case EntryKind::kFile:
    case EntryKind::kHardLink:
      return PathKind::kFile;
    case EntryKind::kSymlink:
      return PathKind::kSymlink;
    default:
      return PathKind::kOther;
  }
}

}  // namespace

bool is_under(const std::string& path, const std::string& directory) {
  if (directory.empty() || path == directory) return true;
  return path.size() > directory.size() && path[directory.size()] == '/' &&
         path.compare(0, directory.size(), directory) == 0;
}

PathModel::PathModel(const std::vector<LayerEntry>& layers) {
  for (const LayerEntry& entry : layers) {
    const bool whiteout =
        entry.kind == EntryKind::kWhiteout || entry.kind == EntryKind::kXattrWhiteout;
    const auto known = paths_.find(entry.path);
    const bool merges = entry.kind == EntryKind::kDirectory && !entry.opaque &&
                        known != paths_.end() && known->second == PathKind::kDirectory;
    if (!merges) remove(entry.path);
    if (!whiteout) add(entry.path, kind_of(entry.kind));
  }
}

std::vector<std::string> PathModel::of_kind(PathKind kind) const {
  std::vector<std::string> found;
  if (kind == PathKind::kDirectory) found.emplace_back();
  for (const auto& [path, its_kind] : paths_) {
    if (its_kind == kind) found.push_back(path);
  }
  return found;
}

void PathModel::add(const std::string& path, PathKind kind) {
  if (!path.empty()) paths_[path] = kind;
}

PathModel::Paths PathModel::take(const std::string& path) {
  Paths taken;
  for (auto it = paths_.lower_bound(path); it != paths_.end();) {
    if (it->first.compare(0, path.size(), path) != 0) break;
    if (!is_under(it->first, path)) {
      ++it;
      continue;
    }
    taken.insert(*it);
    it = paths_.erase(it);
  }
  return taken;
}

void PathModel::put(const Paths& subtree, const std::string& from, const std::string& to) {
  for (const auto& [path, kind] : subtree) paths_[to + path.substr(from.size())] = kind;
}

void PathModel::remove(const std::string& path) {
  if (!path.empty()) take(path);
}

void PathModel::move(const std::string& from, const std::string& to) {
  if (from.empty() || to.empty() || from == to || is_under(to, from) || is_under(from, to)) return;
  const Paths subtree = take(from);
  take(to);
  put(subtree, from, to);
}

void PathModel::exchange(const std::string& left, const std::string& right) {
  if (left.empty() || right.empty() || is_under(left, right) || is_under(right, left)) return;
  const Paths first = take(left);
  const Paths second = take(right);
  put(first, left, right);
  put(second, right, left);
}

}  // namespace plyfs::difftest
