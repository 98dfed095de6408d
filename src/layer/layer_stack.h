// The ordered layers of a mount. Const after mount; thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_stat.h"
#include "layer/mark_rules.h"
#include "layer/marks.h"
#include "plyfs/options.h"
#include "plyfs/result.h"
#include "sys/open.h"
#include "sys/unique_fd.h"

namespace plyfs::layer {

/// 0 is the upper layer (present or not), 1 the topmost lower.
using LayerIndex = std::uint16_t;
inline constexpr LayerIndex kUpper = 0;

/// Where the mountpoint lies inside a layer: there the layer's own directory is shown, never the
/// mount itself (no recursion). Opened before mounting.
struct CoveredDirectory {
  std::vector<std::string> components;  ///< from the layer's root to the mountpoint
  sys::UniqueFd directory;
};

struct Layer {
  sys::UniqueFd root;
  std::string path;  ///< as the user wrote it, for messages
  dev_t dev = 0;
  std::uint32_t filesystem = 0;  ///< index of the filesystem among the layers' filesystems
  bool data_only = false;
  bool no_privileges = false;     ///< its mount is nosuid and ours is not
  bool closed = false;            ///< nobody but the mounter and root can reach what is in it
  bool marks_everywhere = false;  ///< st_blocks tells nothing here: ask every file for metacopy
  std::optional<std::array<std::uint8_t, 16>> uuid;  ///< of the filesystem, for origin marks
  std::optional<CoveredDirectory> covered;
  /// Reading a lower layer leaves no trace where that can be, as with the kernel's overlayfs.
  std::unique_ptr<sys::QuietReads> quiet = std::make_unique<sys::QuietReads>();
  std::unique_ptr<std::atomic<bool>> passed_over =  ///< it was told that marks are not read here
      std::make_unique<std::atomic<bool>>(false);
  /// The upper's: the inode that this mount's whiteouts are links of, on `dev`. 0: not made yet. It
  /// is one as long as the mount lives, so a listing need not ask.
  std::unique_ptr<std::atomic<std::uint64_t>> shared_whiteout =
      std::make_unique<std::atomic<std::uint64_t>>(0);
};

/// Fills in what is to be known of a layer whose root is open and whose path leads there: device,
/// UUID, whether blocks tell, who can reach it.
Status examine(Layer& layer, const MarkRules& rules);

class LayerStack {
 public:
  LayerStack() = default;
  LayerStack(std::vector<Layer> layers, Xino xino, const MarkRules& rules);
  [[nodiscard]] const Layer& operator[](LayerIndex index) const { return layers_[index]; }
  [[nodiscard]] LayerIndex size() const { return static_cast<LayerIndex>(layers_.size()); }
  [[nodiscard]] bool has_upper() const { return layers_[kUpper].root.valid(); }
  [[nodiscard]] const MarkRules& rules() const { return rules_; }
  /// How marks in a layer are read, by who only reads.
  [[nodiscard]] Reading reading() const { return {.user = rules_.user}; }
  /// Whether a mark of user.* on such an object of that layer may lead elsewhere.
  [[nodiscard]] bool believes(LayerIndex index, const FileStat& marked) const {
    return layers_[index].closed || rules_.believes(marked);
  }
  /// st_ino as shown: the real one when all layers share a filesystem, else composed with the
  /// filesystem's index (base/inode_number.h), or hashed.
  [[nodiscard]] std::uint64_t shown_ino(LayerIndex index, dev_t dev, ino_t ino) const;

 private:
  std::vector<Layer> layers_;
  MarkRules rules_;
  bool compose_ = false;
};

}  // namespace plyfs::layer
