// Directories of a stack, walked by name: in every layer that holds them, seen or hidden.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dump/open_stack.h"
#include "merge/directory_stack.h"
#include "plyfs/result.h"
#include "sys/fd_cache.h"

namespace plyfs::dump {

/// Where a path lies in one layer, opened from its root; links on the way are refused (ELOOP).
Result<sys::UniqueFd> open_in_layer(const layer::Layer& layer, const std::string& path);

/// A merged directory without a node: how merge/ reaches it while a dump walks. Guarded by caller.
class Directory final : public merge::DirectoryAccess {
 public:
  static Result<std::shared_ptr<Directory>> root(const OpenStack& stack);
  /// The directory `name` of `parent`, which lookup resolved to `parts`.
  static std::shared_ptr<Directory> child(std::shared_ptr<Directory> parent, std::string name,
                                          merge::DirectoryParts parts);

  merge::DirectoryParts& parts() override { return parts_; }
  Result<sys::FdPin> open_part(std::size_t index) override;
  std::string part_path(std::size_t index) override { return paths_[index]; }
  /// Closes the descriptors; they are opened again when asked for.
  void close();
  /// From the root of the merged tree; "" for it.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::size_t depth() const { return depth_; }

 private:
  explicit Directory(const OpenStack& stack) : stack_(stack) {}
  const OpenStack& stack_;
  std::shared_ptr<Directory> parent_;
  std::string name_;
  std::string path_;
  std::size_t depth_ = 0;
  std::size_t held_ = 0;  ///< descriptors of this one and those above that it keeps
  merge::DirectoryParts parts_;
  std::vector<std::string> paths_;  ///< of the parts, in their layers
  std::vector<sys::FdPin> open_;
};

}  // namespace plyfs::dump
