#include "dump/directory.h"

#include <utility>

#include "sys/open.h"

namespace plyfs::dump {
namespace {

// Directories above keep their descriptors so that a child costs one openat. With more than this
// they do not: a hostile tree is deeper than descriptors are many.
constexpr std::size_t kMostHeldOpen = 400;
// Of one directory. With 500 layers, whose roots are open already, each further part is opened for
// the one question.
constexpr std::size_t kMostOwnParts = 256;
// One call of openat2 resolves this much of a path; the kernel takes no more than 4095 bytes.
constexpr std::size_t kPieceBytes = 4095;

/// Where the piece of `path` that begins at `at` ends: at a slash, or at the end.
std::size_t piece_end(const std::string& path, std::size_t at) {
  if (path.size() - at <= kPieceBytes) {
    return path.size();
  }
  const std::size_t slash = path.rfind('/', at + kPieceBytes);
  return slash == std::string::npos || slash <= at ? path.size() : slash;
}

}  // namespace

Result<sys::UniqueFd> open_in_layer(const layer::Layer& layer, const std::string& path) {
  if (path.empty()) {
    return sys::duplicate(layer.root.borrow());
  }
  sys::UniqueFd current;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = piece_end(path, at);
    const sys::BorrowedFd from = current.valid() ? current.borrow() : layer.root.borrow();
    current = TRY(sys::open_beneath(from, path.substr(at, end - at).c_str()));
    at = end + 1;
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
  if (paths_[index].empty()) {
    // The layer's root, which is open as long as the stack is: a pin that owns nothing.
    return sys::FdPin{std::shared_ptr<void>{}, &layer.root};
  }
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
  sys::FdPin pin = std::make_shared<const sys::UniqueFd>(std::move(opened));
  if (index < kMostOwnParts) {
    open_[index] = pin;
  }
  return pin;
}

void Directory::close() {
  for (sys::FdPin& fd : open_) {
    fd.reset();
  }
}

}  // namespace plyfs::dump
