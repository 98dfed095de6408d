#include "node/directory_handles.h"

#include "sys/open.h"
#include "sys/owner_access.h"

namespace plyfs::node {
namespace {

sys::Mounts mounts_over(const merge::DirectoryPart& part) {
  return part.unopened.load(std::memory_order_relaxed) ? sys::Mounts::kRefuse : sys::Mounts::kEnter;
}

}  // namespace

merge::DirectoryPart* part_in(Node& directory, layer::LayerIndex layer) {
  for (merge::DirectoryPart& part : directory.directory().parts) {
    if (part.layer == layer) {
      return &part;
    }
  }
  return nullptr;
}

Result<sys::FdPin> DirectoryHandles::open(Node& directory, const merge::DirectoryPart& part) {
  if (sys::FdPin cached = cache_.find(part.handle)) {
    return cached;
  }
  sys::UniqueFd opened = TRY(open_uncached(directory, part));
  return cache_.insert(part.handle, std::make_shared<const sys::UniqueFd>(std::move(opened)));
}

Result<DirectoryHandles::Way> DirectoryHandles::way_by_name(Node& directory,
                                                            const merge::DirectoryPart& part) {
  if (part.path || part.boundary == merge::Boundary::kCovered || &directory == &table_.root()) {
    return Way{};
  }
  const NodeNames names = table_.names_of(directory);
  const merge::DirectoryPart* const above =
      names.parent == nullptr ? nullptr : part_in(*names.parent, part.layer);
  if (above == nullptr) {
    return Way{};
  }
  return Way{TRY(open(*names.parent, *above)), names.dentry->name};
}

Result<DirectoryHandles::Way> DirectoryHandles::way_to(Node& directory,
                                                       const merge::DirectoryPart& part) {
  if (sys::FdPin cached = cache_.find(part.handle)) {
    return Way{std::move(cached)};
  }
  Way way = TRY(way_by_name(directory, part));
  return way.directory ? std::move(way) : Way{TRY(open(directory, part))};
}

Result<sys::FdPin> DirectoryHandles::open_listed(Node& directory, const merge::DirectoryPart& part,
                                                 sys::QuietReads* quiet) {
  const Way way = TRY(way_by_name(directory, part));
  if (!way.directory) {
    return sys::FdPin{};
  }
  const sys::ObjectRef object{way.directory->borrow(), way.name};
  const auto open = [&] { return sys::open_listing_quietly(object, quiet, mounts_over(part)); };
  sys::FdPin opened = std::make_shared<const sys::UniqueFd>(
      TRY(part.layer == layer::kUpper ? sys::with_owner_access(object, open) : open()));
  (void)cache_.insert(part.handle, opened);
  return opened;
}

Result<sys::UniqueFd> DirectoryHandles::open_uncached(Node& directory,
                                                      const merge::DirectoryPart& part) {
  if (const Way way = TRY(way_by_name(directory, part)); way.directory) {
    return sys::open_directory_at(way.directory->borrow(), way.name, mounts_over(part));
  }
  const layer::Layer& layer = stack_[part.layer];
  if (&directory == &table_.root()) {
    return sys::duplicate(layer.root.borrow());
  }
  if (part.boundary == merge::Boundary::kCovered) {
    return sys::duplicate(layer.covered->directory.borrow());
  }
  const NodeNames names = table_.names_of(directory);
  if (names.orphan && part.layer == layer::kUpper) {
    return sys::duplicate(names.orphan.fd->borrow());
  }
  if (part.path) {
    return open_path(part.layer, *part.path, mounts_over(part));
  }
  return Errno{names.parent == nullptr ? ENOENT : ESTALE};
}

Result<sys::UniqueFd> DirectoryHandles::open_path(layer::LayerIndex layer, const std::string& path,
                                                  sys::Mounts mounts) {
  // Component by component: a symbolic link on the way is refused, not followed.
  sys::UniqueFd current = TRY(sys::duplicate(stack_[layer].root.borrow()));
  std::size_t at = 0;
  while (at < path.size()) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    const std::string component = path.substr(at, slash - at);
    current = TRY(sys::open_directory_at(current.borrow(), component.c_str(), mounts));
    at = slash + 1;
  }
  return current;
}

std::string DirectoryHandles::path(Node& directory, const merge::DirectoryPart& part) {
  if (&directory == &table_.root()) {
    return {};
  }
  if (part.path) {
    return *part.path;
  }
  const NodeNames names = table_.names_of(directory);
  if (names.parent == nullptr) {
    return {};
  }
  const merge::DirectoryPart* parent_part = part_in(*names.parent, part.layer);
  std::string above = parent_part == nullptr ? std::string{} : path(*names.parent, *parent_part);
  if (!above.empty()) {
    above += '/';
  }
  return above.append(names.dentry->view());
}

void DirectoryHandles::forget(Node& directory) {
  for (const merge::DirectoryPart& part : directory.directory().parts) {
    cache_.erase(part.handle);
  }
}

}  // namespace plyfs::node
