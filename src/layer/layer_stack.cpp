#include "layer/layer_stack.h"

#include <algorithm>

#include "base/hash.h"
#include "base/inode_number.h"
#include "sys/filesystem_uuid.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::layer {
namespace {

// Of numbers that do not fit 32 bits: 2^54 inodes in each of up to 128 filesystems, and hashes.
constexpr unsigned kFilesystemShift = 54;
constexpr std::uint32_t kLongSpaces = 128;
constexpr std::uint64_t kLongBit = std::uint64_t{1} << 61;
constexpr std::uint64_t kHashedBit = std::uint64_t{1} << 62;

/// Filesystems on which a file without data has no fewer blocks than bytes do not exist among
/// these; on all others every file is asked for a metacopy mark.
bool blocks_tell_of_data(std::uint64_t magic) {
  constexpr std::uint64_t kKnown[] = {0xef53 /* ext4 */, 0x58465342 /* xfs */,
                                      0x9123683e /* btrfs */, 0x01021994 /* tmpfs */};
  return std::find(std::begin(kKnown), std::end(kKnown), magic) != std::end(kKnown);
}

}  // namespace

Status examine(Layer& layer, const MarkRules& rules) {
  layer.dev = TRY(sys::stat_object({layer.root.borrow(), ""})).dev;
  const auto magic = sys::filesystem_magic(layer.root.borrow());
  layer.marks_everywhere = !magic || !blocks_tell_of_data(*magic);
  layer.closed = rules.user && is_closed_to_others(layer.path, rules);
  if (const auto listing = sys::open_listing({layer.root.borrow(), ""})) {
    layer.uuid = sys::filesystem_uuid(listing->borrow());
  }
  return {};
}

LayerStack::LayerStack(std::vector<Layer> layers, Xino xino, const MarkRules& rules)
    : layers_(std::move(layers)), rules_(rules) {
  std::vector<dev_t> devices;
  for (Layer& layer : layers_) {
    if (!layer.root.valid()) {
      continue;
    }
    const auto known = std::find(devices.begin(), devices.end(), layer.dev);
    layer.filesystem = static_cast<std::uint32_t>(known - devices.begin());
    if (known == devices.end()) {
      devices.push_back(layer.dev);
    }
  }
  compose_ = xino == Xino::kOn || (xino == Xino::kAuto && devices.size() > 1);
}

std::uint64_t LayerStack::shown_ino(LayerIndex index, dev_t dev, ino_t ino) const {
  const Layer& layer = layers_[index];
  if (dev != layer.dev) {
    // A btrfs subvolume, an overlay's own layer or a bind-mounted file inside the layer: the
    // device is the only thing that tells such inodes apart.
    return hash_pair(dev, ino) | kHashedBit;
  }
  if (!compose_) {
    const bool of_volumes = ino >= kVolumeNumbers && ino >> 32 == 0;
    return of_volumes ? ino | kLongBit : ino;
  }
  if (layer.filesystem < kUnionSpaces && fits_short(ino)) {
    return short_ino(layer.filesystem, ino);
  }
  if (ino >> kFilesystemShift != 0 || layer.filesystem >= kLongSpaces) {
    return hash_pair(layer.filesystem + 1, ino) | kHashedBit;
  }
  return ino | static_cast<std::uint64_t>(layer.filesystem) << kFilesystemShift | kLongBit;
}

}  // namespace plyfs::layer
