// One object of the merged tree, as a mount shows it: attributes, data, xattrs, link identity.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dump/directory.h"
#include "dump/open_stack.h"
#include "merge/lookup.h"
#include "plyfs/result.h"

namespace plyfs::image {

struct LinkIdentity {
  dev_t dev = 0;
  ino_t ino = 0;
  friend auto operator<=>(const LinkIdentity&, const LinkIdentity&) = default;
};

struct Object {
  FileStat stat;
  layer::LayerIndex layer = 0;
  std::string path;      ///< in its layer
  sys::UniqueFd handle;  ///< O_PATH
  /// Where the data of a metadata-only copy is; for all others the object itself.
  std::optional<merge::DataLocation> data;
  bool metacopy = false;
  std::optional<LinkIdentity> link;  ///< files with several links
  merge::DirectoryParts parts;       ///< directories
  /// Marks to be written with it, by their names on disk; convert's only.
  std::vector<std::pair<std::string, std::string>> marks;

  [[nodiscard]] sys::ObjectRef ref() const { return {handle.borrow(), ""}; }
};

/// Shows what a stack's mount would show, also for hard links that the index keeps together.
class View {
 public:
  static Result<std::unique_ptr<View>> open(const dump::OpenStack& stack);

  [[nodiscard]] Result<std::shared_ptr<dump::Directory>> root() const {
    return dump::Directory::root(stack_);
  }
  /// nullopt: nothing is seen there. Errors as in a mount.
  Result<std::optional<Object>> find(dump::Directory& parent, const std::string& name) const;
  /// The names seen in a directory, sorted by bytes.
  Result<std::vector<std::string>> names(dump::Directory& directory) const;
  /// A handle of the root's topmost part, with its attributes.
  Result<Object> root_object() const;
  /// Whether the index may show a copy under names whose directories are not in the upper.
  [[nodiscard]] bool has_indexed() const { return has_indexed_; }
  /// Opens the data of a regular file.
  Result<sys::UniqueFd> open_data(const Object& object) const;
  [[nodiscard]] const dump::OpenStack& stack() const { return stack_; }

 private:
  explicit View(const dump::OpenStack& stack) : stack_(stack) {}
  Status follow_index(Object& object) const;

  const dump::OpenStack& stack_;
  bool has_indexed_ = false;
};

/// The xattrs that belong to the object: private marks left out, escaped names as they are stored.
Result<std::vector<std::pair<std::string, std::string>>> public_xattrs(const Object& object);

/// Whether two regular files have the same data. Cost: reads both, unless one gives the other's.
Result<bool> same_content(const View& a_view, const Object& a, const View& b_view, const Object& b);

/// Whether two objects are the same to users: type, mode, owner, times of what is no directory,
/// size, content, target, device, xattrs. Cost: reads two files that are equal in all the rest.
Result<bool> same(const View& a_view, const Object& a, const View& b_view, const Object& b);

}  // namespace plyfs::image
