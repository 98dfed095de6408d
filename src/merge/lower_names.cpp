#include "merge/lower_names.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "layer/format.h"
#include "sys/dir_stream.h"
#include "sys/open.h"

namespace plyfs::merge {
namespace {

using Found = std::pair<std::uint64_t, layer::LayerIndex>;

enum class Room : std::uint8_t { kLeft, kNone };

Result<Room> read_part(sys::BorrowedFd handle, layer::LayerIndex layer, std::size_t most,
                       std::vector<Found>& found) {
  const sys::UniqueFd opened = TRY(sys::open_listing_quietly({handle, ""}));
  Room room = Room::kLeft;
  TRY(sys::read_directory(opened.borrow(), [&](const sys::RawEntry& raw) {
    if (found.size() == most) {
      room = Room::kNone;
      return sys::Visit::kStop;
    }
    std::string_view name{raw.name, raw.name_size};
    if (layer::is_aufs_name(name)) {
      // It stands for the name that it hides; aufs's own files stand for none that users may have.
      name.remove_prefix(layer::kAufsPrefix.size());
    }
    found.emplace_back(hash_bytes(name), layer);
    return sys::Visit::kContinue;
  }));
  return room;
}

}  // namespace

Result<std::shared_ptr<const LowerNames>> LowerNames::read(DirectoryAccess& directory,
                                                           std::size_t most) {
  std::vector<Found> found;
  for (std::size_t index = 0; index < directory.parts().size(); ++index) {
    const DirectoryPart& part = directory.parts()[index];
    if (part.layer == layer::kUpper) {
      continue;
    }
    const sys::FdPin handle = TRY(enter_part(directory, index));
    if (handle && TRY(read_part(handle->borrow(), part.layer, most, found)) == Room::kNone) {
      return std::shared_ptr<const LowerNames>{};
    }
    if (TRY(hides_below(directory, index))) {
      break;
    }
  }
  std::sort(found.begin(), found.end());
  const auto same_hash = [](const Found& a, const Found& b) { return a.first == b.first; };
  found.erase(std::unique(found.begin(), found.end(), same_hash), found.end());
  auto names = std::make_shared<LowerNames>();
  names->hashes_.reserve(found.size());
  names->layers_.reserve(found.size());
  for (const auto& [hash, layer] : found) {
    names->hashes_.push_back(hash);
    names->layers_.push_back(layer);
  }
  return std::shared_ptr<const LowerNames>{std::move(names)};
}

layer::LayerIndex LowerNames::first_layer(std::string_view name) const {
  const std::uint64_t hash = hash_bytes(name);
  const auto at = std::lower_bound(hashes_.begin(), hashes_.end(), hash);
  return at == hashes_.end() || *at != hash
             ? kNoLayer
             : layers_[static_cast<std::size_t>(at - hashes_.begin())];
}

}  // namespace plyfs::merge
