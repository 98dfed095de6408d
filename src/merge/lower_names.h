// Which layer first has a name in a directory: an index of what never changes, the lower layers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "merge/directory_stack.h"
#include "plyfs/result.h"

namespace plyfs::merge {

/// For every name of a directory's lower parts, the topmost lower layer with an entry for it: an
/// object, or a whiteout of any family. With it a lookup asks no layer above that one, and a name
/// that no lower layer has costs the lower layers nothing, however many there are (D-023).
///
/// Holds hashes, not names: equal hashes can only make it name a layer too far up, which costs a
/// question and changes no answer. Immutable; 10 bytes for each name.
class LowerNames {
 public:
  /// Reads the lower parts. Null when they have more than `most` entries together: not worth it.
  /// Errors: those of opening and reading a layer.
  static Result<std::shared_ptr<const LowerNames>> read(DirectoryAccess& directory,
                                                        std::size_t most);

  /// kNoLayer: no lower layer has an entry of that name.
  [[nodiscard]] layer::LayerIndex first_layer(std::string_view name) const;
  [[nodiscard]] std::size_t bytes() const {
    return hashes_.capacity() * sizeof(std::uint64_t) +
           layers_.capacity() * sizeof(layer::LayerIndex);
  }

  static constexpr auto kNoLayer = static_cast<layer::LayerIndex>(-1);

 private:
  std::vector<std::uint64_t> hashes_;  ///< sorted
  std::vector<layer::LayerIndex> layers_;
};

}  // namespace plyfs::merge
