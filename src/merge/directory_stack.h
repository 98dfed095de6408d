// One merged directory: the layers that hold a part of it, top first.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "layer/layer_stack.h"
#include "layer/probe.h"
#include "plyfs/result.h"
#include "sys/fd_slots.h"
#include "sys/open.h"

namespace plyfs::merge {

/// Where the host has mounted something inside a layer.
enum class Boundary : std::uint8_t {
  kNone,
  kEmpty,    ///< another filesystem: never entered, shown as an empty directory
  kCovered,  ///< our own mountpoint: the layer's directory beneath it, by a handle opened before
};

/// Whether a part hides those below it by a `.wh..wh..opq` in it.
enum class OpaqueFile : std::uint8_t {
  kNo,
  kUnasked,  ///< not known yet: hides_below() tells, and so does reading the part
  kYes,
};

/// One layer's part of a merged directory. Plain data, but some of it is found out later: that only
/// becomes more precise, and concurrent lookups may update it.
struct DirectoryPart {
  layer::LayerIndex layer = 0;
  std::atomic<Boundary> boundary{Boundary::kNone};
  std::atomic<OpaqueFile> opaque_file{OpaqueFile::kNo};
  /// Known from a listing only. Whether the host has mounted something over it shows when it is
  /// opened: with sys::Mounts::kRefuse.
  std::atomic<bool> unopened{false};
  std::uint8_t covered = 0;  ///< how many components towards the covered mountpoint lead here, +1
  std::atomic<bool> xwhiteouts{false};
  std::atomic<bool> impure{false};
  layer::AufsHint aufs;
  /// Where the layer holds it, from the layer's root; null = under the parent's part, by its name.
  std::unique_ptr<const std::string> path;
  /// Its handle, where it belongs to a node that the kernel knows (node::DirectoryHandles).
  mutable sys::FdSlot handle;

  DirectoryPart() = default;
  DirectoryPart(DirectoryPart&& other) noexcept
      : layer(other.layer),
        boundary(other.boundary.load()),
        opaque_file(other.opaque_file.load()),
        unopened(other.unopened.load()),
        covered(other.covered),
        xwhiteouts(other.xwhiteouts.load()),
        impure(other.impure.load()),
        aufs(other.aufs),
        path(std::move(other.path)) {}
  DirectoryPart& operator=(DirectoryPart&& other) noexcept {
    layer = other.layer;
    boundary.store(other.boundary.load());
    opaque_file.store(other.opaque_file.load());
    unopened.store(other.unopened.load());
    covered = other.covered;
    xwhiteouts.store(other.xwhiteouts.load());
    impure.store(other.impure.load());
    aufs = other.aufs;
    path = std::move(other.path);
    return *this;
  }
};

/// The parts, top first. The place of the upper part is kept free, so that a copy-up of the
/// directory moves nothing: descendants find their layer's part here without the DirLock. Built by
/// one thread; afterwards add_upper() under the DirLock (exclusive) is the only change of the set,
/// but for keep_only_upper().
class DirectoryParts {
 public:
  DirectoryParts() = default;
  DirectoryParts(DirectoryParts&& other) noexcept
      : slots_(std::move(other.slots_)), has_upper_(other.has_upper_.load()) {}
  DirectoryParts& operator=(DirectoryParts&& other) noexcept {
    slots_ = std::move(other.slots_);
    has_upper_.store(other.has_upper_.load());
    return *this;
  }

  /// Before building: about how many there will be.
  void reserve(std::size_t parts) { slots_.reserve(parts + 1); }
  /// While building, top first.
  void push_back(DirectoryPart part) {
    if (part.layer == layer::kUpper) {
      add_upper(std::move(part));
    } else {
      keep_place();
      slots_.push_back(std::move(part));
    }
  }
  void add_upper(DirectoryPart part) {
    keep_place();
    slots_.front() = std::move(part);
    has_upper_.store(true, std::memory_order_release);
  }
  /// The directory is in the upper only from now on. Nobody else may be in the tree (its lock is
  /// held exclusively): descendants look into this without the DirLock.
  void keep_only_upper(DirectoryPart part) {
    slots_.clear();
    add_upper(std::move(part));
  }
  [[nodiscard]] std::size_t size() const { return slots_.size() - skipped(); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] DirectoryPart& operator[](std::size_t index) { return slots_[index + skipped()]; }
  [[nodiscard]] DirectoryPart& front() { return (*this)[0]; }
  [[nodiscard]] DirectoryPart* begin() { return slots_.data() + skipped(); }
  [[nodiscard]] DirectoryPart* end() { return slots_.data() + slots_.size(); }

 private:
  void keep_place() {
    if (slots_.empty()) {
      slots_.emplace_back();
    }
  }
  [[nodiscard]] std::size_t skipped() const {
    return slots_.empty() || has_upper_.load(std::memory_order_acquire) ? 0 : 1;
  }

  std::vector<DirectoryPart> slots_;  ///< [0] is the upper's; empty: not a directory
  std::atomic<bool> has_upper_{false};
};

/// How merge/ reaches a directory: its parts, and an open handle of each.
class DirectoryAccess {
 public:
  DirectoryAccess() = default;
  DirectoryAccess(const DirectoryAccess&) = delete;
  DirectoryAccess& operator=(const DirectoryAccess&) = delete;
  virtual ~DirectoryAccess() = default;
  [[nodiscard]] virtual DirectoryParts& parts() = 0;
  /// Handle of part `index`, to reach what is in it: O_PATH or more.
  virtual Result<sys::FdPin> open_part(std::size_t index) = 0;
  /// Part `index` at its beginning, to be read by the caller alone. `quiet` is its layer's.
  virtual Result<sys::FdPin> open_to_list(std::size_t index, sys::QuietReads* quiet);
  /// Path of this directory in part `index`'s layer, from the layer's root ("" for the root).
  [[nodiscard]] virtual std::string part_path(std::size_t index) = 0;
};

/// Handle of part `index` as DirectoryAccess gives it; null where there is nothing of the layer's.
Result<sys::FdPin> enter_part(DirectoryAccess& directory, std::size_t index);
Result<sys::FdPin> enter_part_to_list(DirectoryAccess& directory, std::size_t index,
                                      sys::QuietReads* quiet);
/// Whether part `index` hides the parts below it. Ask this before asking them.
Result<bool> hides_below(DirectoryAccess& directory, std::size_t index);

}  // namespace plyfs::merge
