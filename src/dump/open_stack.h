// The layers of a stack, opened to be read and nothing else.
#pragma once

#include <memory>
#include <string>

#include "layer/layer_stack.h"
#include "merge/lookup.h"
#include "plyfs/mount.h"
#include "plyfs/options.h"
#include "plyfs/result.h"

namespace plyfs::dump {

/// Immutable; the layers may be in use by a mount. Layer 0 is the upper, where there is one.
class OpenStack {
 public:
  /// Opens what `options` names: layers, upper, work directory (path only). Null with `failure`
  /// filled when a layer cannot be opened. Nothing is created, locked or changed.
  static std::unique_ptr<OpenStack> open(const MountOptions& options, Failure& failure);

  [[nodiscard]] const layer::LayerStack& layers() const { return layers_; }
  [[nodiscard]] const merge::Lookup& lookup() const { return lookup_; }
  [[nodiscard]] const MountOptions& options() const { return options_; }
  /// "upper", "1", "2": how a layer is called in every print.
  [[nodiscard]] static std::string layer_word(layer::LayerIndex index);
  /// WORK/index; invalid where there is none, or where the index is off.
  [[nodiscard]] sys::BorrowedFd index() const { return index_.borrow(); }
  [[nodiscard]] bool has_index() const { return index_.valid(); }
  [[nodiscard]] layer::LayerIndex first() const { return layers_.has_upper() ? 0 : 1; }

 private:
  OpenStack(MountOptions options, layer::LayerStack layers, sys::UniqueFd index);
  const MountOptions options_;
  const layer::LayerStack layers_;
  const merge::Lookup lookup_;
  const sys::UniqueFd index_;
};

}  // namespace plyfs::dump
