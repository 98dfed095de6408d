#include "dump/directory.h"

#include <utility>

#include "sys/open.h"

namespace plyfs::dump {
namespace {

// Directories above keep their descriptors so that a child costs one openat. With more than this
// they do not: a hostile tree is deeper than descriptors are many.
constexpr std::size_t kMostHeldOpen = 400;

}  // namespace

Result<sys::UniqueFd> open_in_layer(const layer::Layer& layer, const std::string& path) {
  sys::UniqueFd current = TRY(sys::duplicate(layer.root.borrow()));
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t slash = std::min(path.find('/', at), path.size());
    current = TRY(sys::open_directory_at(current.borrow(), path.substr(at, slash - at).c_str()));
    at = slash + 1;
  }
  return current;
}

Result<std::shared_ptr<Directory>> Directory::root(const OpenStack& stack) {
  std::shared_ptr<Directory> made{new Directory{stack}};
  made->parts_ = TRY(stack.lookup().root_parts());
  made->paths_.resize(made->parts_.size());
  made->open_.resize(made->parts_.size());
  return made;
}

std::shared_ptr<Directory> Directory::child(std::shared_ptr<Directory> parent, std::string name,
                                            merge::DirectoryParts parts) {
  std::shared_ptr<Directory> made{new Directory{parent->stack_}};
  made->path_ = parent->path_.empty() ? name : parent->path_ + '/' + name;
  made->depth_ = parent->depth_ + 1;
  made->parts_ = std::move(parts);
  for (const merge::DirectoryPart& part : made->parts_) {
    std::string path = part.path ? *part.path : std::string{};
    for (std::size_t i = 0; !part.path && i < parent->parts_.size(); ++i) {
      if (parent->parts_[i].layer == part.layer) {
        path = parent->paths_[i].empty() ? name : parent->paths_[i] + '/' + name;
      }
    }
    made->paths_.push_back(std::move(path));
  }
  made->open_.resize(made->parts_.size());
  made->name_ = std::move(name);
  if (parent->held_ + made->parts_.size() <= kMostHeldOpen) {
    made->held_ = parent->held_ + made->parts_.size();
    made->parent_ = std::move(parent);
  }
  return made;
}

Result<sys::FdPin> Directory::open_part(std::size_t index) {
  if (open_[index]) {
    return open_[index];
  }
  const merge::DirectoryPart& part = parts_[index];
  const layer::Layer& layer = stack_.layers()[part.layer];
  sys::UniqueFd opened;
  std::size_t above = 0;
  const bool has_parent = parent_ && !part.path;
  while (has_parent && above < parent_->parts_.size() &&
         parent_->parts_[above].layer != part.layer) {
    ++above;
  }
  if (has_parent && above < parent_->parts_.size()) {
    const sys::FdPin held = TRY(parent_->open_part(above));
    opened = TRY(sys::open_directory_at(held->borrow(), name_.c_str()));
  } else {
    opened = TRY(open_in_layer(layer, paths_[index]));
  }
  open_[index] = std::make_shared<const sys::UniqueFd>(std::move(opened));
  return open_[index];
}

void Directory::close() {
  for (sys::FdPin& fd : open_) {
    fd.reset();
  }
}

}  // namespace plyfs::dump
