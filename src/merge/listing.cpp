#include "merge/listing.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/hash.h"
#include "layer/format.h"
#include "layer/marks.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::merge {

std::uint64_t order_of_name(std::string_view name) {
  const std::uint64_t order = hash_bytes(name) >> 1;
  return order >= Listing::kLastOrder ? order >> 1
                                      : std::max(order, Listing::kFirstOffset << Listing::kHalf);
}

std::uint64_t Listing::offset(const ListedEntry& entry) const {
  const ListedEntry* const next = &entry + 1;
  const bool last = next == entries_.data() + entries_.size();
  const std::uint64_t half = entry.order >> kHalf;
  return last || next->order >> kHalf != half ? half : entry.order;
}

std::size_t Listing::position_after(std::uint64_t offset) const {
  const bool half = offset >> (kHalf - 1) == 0;
  const std::uint64_t order = half && offset >= kFirstOffset ? ((offset + 1) << kHalf) - 1 : offset;
  const auto found = std::upper_bound(
      entries_.begin(), entries_.end(), order,
      [](std::uint64_t wanted, const ListedEntry& entry) { return wanted < entry.order; });
  return static_cast<std::size_t>(found - entries_.begin());
}

/// Collects raw entries of all parts, then sorts and lets the topmost of each name win.
class ListingBuilder {
 public:
  ListingBuilder(const layer::LayerStack& stack, DirectoryAccess& directory)
      : stack_(stack), directory_(directory) {
    // Small directories are the rule; and pieces below 1 KiB cost malloc(3) little.
    constexpr std::size_t kUsualNames = 24;
    constexpr std::size_t kUsualBytes = 512;
    raws_.reserve(kUsualNames);
    listing_->names_.reserve(kUsualBytes);
  }

  Status read_part(std::size_t index) {
    part_ = &directory_.parts()[index];
    part_index_ = static_cast<std::uint16_t>(index);
    const sys::FdPin opened =
        TRY(enter_part_to_list(directory_, index, stack_[part_->layer].quiet.get()));
    if (!opened) {
      return {};
    }
    dir_ = opened->borrow();
    same_device_.reset();
    bool saw_aufs = false;
    bool saw_opaque = false;
    Status failure;
    TRY(sys::read_directory(dir_, [&](const sys::RawEntry& raw) {
      const std::string_view name{raw.name, raw.name_size};
      saw_aufs = saw_aufs || layer::is_aufs_name(name);
      saw_opaque = saw_opaque || name == layer::kAufsOpaqueName;
      failure = add(raw);
      return failure ? sys::Visit::kContinue : sys::Visit::kStop;
    }));
    TRY(Status{failure});
    if (part_->opaque_file.load(std::memory_order_relaxed) == OpaqueFile::kUnasked) {
      part_->opaque_file = saw_opaque ? OpaqueFile::kYes : OpaqueFile::kNo;
    }
    part_->aufs.set(saw_aufs ? layer::AufsHint::State::kPresent : layer::AufsHint::State::kNone);
    return {};
  }

  std::shared_ptr<const Listing> finish(std::uint32_t version) {
    listing_->version_ = version;
    listing_->part_count_ = directory_.parts().size();
    auto& entries = listing_->entries_;
    const auto name = [&](const Raw& raw) {
      return std::string_view{listing_->names_.data() + raw.entry.name_start, raw.entry.name_size};
    };
    std::sort(raws_.begin(), raws_.end(), [&](const Raw& a, const Raw& b) {
      if (a.entry.order != b.entry.order) {
        return a.entry.order < b.entry.order;
      }
      if (const int order = name(a).compare(name(b)); order != 0) {
        return order < 0;
      }
      // In one layer an object beats the `.wh.` beside it: that hides lower layers only.
      return a.entry.part != b.entry.part ? a.entry.part < b.entry.part : a.whiteout < b.whiteout;
    });
    entries.reserve(raws_.size());
    for (std::size_t i = 0; i < raws_.size();) {
      std::size_t next = i + 1;
      while (next < raws_.size() && raws_[next].entry.order == raws_[i].entry.order &&
             name(raws_[next]) == name(raws_[i])) {
        ++next;
      }
      if (!raws_[i].whiteout) {
        entries.push_back(raws_[i].entry);
        ListedEntry& added = entries.back();
        added.following = following(i, next);
        if (entries.size() > 1 && added.order <= entries[entries.size() - 2].order) {
          added.order = entries[entries.size() - 2].order + 1;  // colliding hashes
        }
      }
      i = next;
    }
    return std::move(listing_);
  }

 private:
  struct Raw {
    ListedEntry entry;
    bool whiteout = false;
  };

  /// Of the name that raws_[first] to raws_[end - 1] are about.
  [[nodiscard]] std::uint64_t following(std::size_t first, std::size_t end) const {
    using Place = NamePlaces::Place;
    std::uint64_t told = 0;
    for (std::size_t i = first + 1; i < end; ++i) {
      const Raw& raw = raws_[i];
      if (raw.entry.part == raws_[first].entry.part) {
        continue;
      }
      // A whiteout alone, or beside the object, which comes first.
      const bool alone = raw.entry.part != raws_[i - 1].entry.part && !raw.whiteout;
      const bool directory = alone && raw.entry.type == entry_type_of(kTypeDirectory);
      told = NamePlaces::with(told, raw.entry.part - raws_[first].entry.part,
                              directory ? Place::kDirectory : Place::kAsk);
    }
    return told;
  }

  Status add(const sys::RawEntry& raw) {
    std::string_view name{raw.name, raw.name_size};
    Raw made;
    if (layer::is_aufs_name(name)) {
      if (layer::is_aufs_internal(name)) {
        return {};
      }
      name.remove_prefix(layer::kAufsPrefix.size());
      made.whiteout = true;
    } else {
      TRY(classify(raw, made));
    }
    made.entry.order = order_of_name(name);
    made.entry.part = part_index_;
    made.entry.name_start = static_cast<std::uint32_t>(listing_->names_.size());
    made.entry.name_size = static_cast<std::uint8_t>(name.size());
    listing_->names_.insert(listing_->names_.end(), name.begin(), name.end());
    listing_->names_.push_back('\0');
    raws_.push_back(made);
    return {};
  }

  /// Whether the entry is our own mountpoint, or on the way to it.
  [[nodiscard]] bool is_covered(const sys::RawEntry& raw) const {
    const auto& covered = stack_[part_->layer].covered;
    return covered && part_->covered > 0 && part_->covered <= covered->components.size() &&
           covered->components[part_->covered - 1U] == raw.name;
  }

  /// Whether it is another name of the inode that is known for a whiteout.
  Result<bool> is_shared_whiteout(const sys::RawEntry& raw) {
    const layer::Layer& layer = stack_[part_->layer];
    if (raw.type != entry_type_of(kTypeChar) || raw.ino != layer.shared_whiteout->load()) {
      return false;
    }
    if (!same_device_) {  // a number says nothing in another filesystem or subvolume
      same_device_ = TRY(sys::stat_object({dir_, ""})).dev == layer.dev;
    }
    return *same_device_;
  }

  Status classify(const sys::RawEntry& raw, Raw& made) {
    made.entry.type = raw.type;
    if (TRY(is_shared_whiteout(raw))) {
      made.whiteout = true;
      return {};
    }
    const bool may_be_device =
        raw.type == entry_type_of(kTypeChar) || raw.type == kEntryTypeUnknown;
    const bool may_be_marked =
        part_->xwhiteouts.load() &&
        (raw.type == entry_type_of(kTypeRegular) || raw.type == kEntryTypeUnknown);
    if (raw.type == kEntryTypeUnknown && is_covered(raw)) {
      made.entry.type = entry_type_of(kTypeDirectory);  // a stat would be a request to ourselves
    } else if (may_be_device || may_be_marked) {
      const auto stat = sys::stat_object({dir_, raw.name});
      if (!stat && stat.error() == ENOENT) {
        made.whiteout = true;  // removed on the host between the two calls
        return {};
      }
      const FileStat found = TRY(Result<FileStat>{stat});
      made.entry.type = entry_type_of(found.mode);
      made.whiteout = found.is_whiteout_device();
      if (!made.whiteout && may_be_marked && found.is_regular() && found.size_bytes == 0) {
        made.whiteout = TRY(layer::is_xattr_whiteout({dir_, raw.name}, stack_.reading()));
      }
    }
    // Where st_ino may differ from the inode on disk, or be that of a mount, a lookup tells it.
    const bool directory = made.entry.type == entry_type_of(kTypeDirectory);
    const bool exact =
        part_->layer == layer::kUpper ? !part_->impure.load() && !directory : !directory;
    made.entry.ino = exact ? stack_.shown_ino(part_->layer, stack_[part_->layer].dev, raw.ino) : 0;
    return {};
  }

  const layer::LayerStack& stack_;
  DirectoryAccess& directory_;
  DirectoryPart* part_ = nullptr;
  std::uint16_t part_index_ = 0;
  sys::BorrowedFd dir_;
  std::optional<bool> same_device_;  ///< of the part and its layer's root; asked when needed
  std::vector<Raw> raws_;
  std::shared_ptr<Listing> listing_ = std::make_shared<Listing>();
};

Result<std::shared_ptr<const Listing>> list_directory(const layer::LayerStack& stack,
                                                      DirectoryAccess& directory,
                                                      std::uint32_t version) {
  ListingBuilder builder{stack, directory};
  for (std::size_t index = 0; index < directory.parts().size(); ++index) {
    TRY(builder.read_part(index));
    if (TRY(hides_below(directory, index))) {
      break;
    }
  }
  return builder.finish(version);
}

Result<bool> is_empty(const layer::LayerStack& stack, DirectoryAccess& directory) {
  return TRY(list_directory(stack, directory, 0))->entries().empty();
}

}  // namespace plyfs::merge
