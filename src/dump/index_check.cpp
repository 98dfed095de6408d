#include "dump/index_check.h"

#include <algorithm>

#include "base/text.h"
#include "dump/content.h"
#include "layer/link_count.h"
#include "layer/marks.h"
#include "layer/origin.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::dump {
namespace {

/// Hexadecimal, in whole bytes, of at least a header (layer/origin.h).
bool is_index_name(const std::string& name) {
  return name.size() >= 2 * 21 && name.size() % 2 == 0 &&
         name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Finding finding_of(Problem problem, Weight weight, const std::string& name, std::string text) {
  return {problem, weight, layer::kUpper, name, {}, std::move(text)};
}

}  // namespace

Result<std::vector<IndexEntry>> index_entries(const OpenStack& stack) {
  std::vector<IndexEntry> entries;
  if (!stack.has_index()) {
    return entries;
  }
  const sys::UniqueFd listing = TRY(sys::open_listing({stack.index(), ""}));
  TRY(sys::read_directory(listing.borrow(), [&](const sys::RawEntry& raw) {
    entries.push_back({std::string{raw.name, raw.name_size}, {}, {}});
    return sys::Visit::kContinue;
  }));
  std::ranges::sort(entries, {}, &IndexEntry::name);
  std::vector<IndexEntry> files;
  for (IndexEntry& entry : entries) {
    const sys::ObjectRef object{stack.index(), entry.name.c_str()};
    entry.stat = TRY(sys::stat_object(object));
    if (!entry.stat.is_directory() && !entry.stat.is_whiteout_device()) {
      entry.nlink_mark = TRY(layer::read_file_marks(object, stack.layers().reading())).nlink;
      files.push_back(std::move(entry));
    }
  }
  return files;
}

Result<IndexCheck> IndexCheck::begin(const OpenStack& stack) {
  IndexCheck check{stack};
  for (IndexEntry& entry : TRY(index_entries(stack))) {
    check.names_by_inode_[{entry.stat.dev, entry.stat.ino}] = entry.name;
    std::string name = entry.name;
    check.entries_[std::move(name)].entry = std::move(entry);
  }
  return check;
}

void IndexCheck::see(const Answer& answer) {
  if (entries_.empty()) {
    return;
  }
  for (const Version& version : answer.versions) {
    const bool linked = !version.stat.is_directory() && version.stat.nlink > 1;
    if (version.state == State::kSeen && !version.index_entry.empty()) {
      ++entries_[version.index_entry].names;
    } else if (linked && version.state == State::kSeen && version.layer == layer::kUpper) {
      const auto known = names_by_inode_.find({version.stat.dev, version.stat.ino});
      if (known != names_by_inode_.end()) {
        ++entries_[known->second].names;
      }
    } else if (linked && version.state != State::kWhiteout && version.layer != layer::kUpper) {
      see_origin(version);
    }
  }
}

void IndexCheck::see_origin(const Version& version) {
  const layer::Layer& layer = stack_->layers()[version.layer];
  const auto origin = [&]() -> Result<std::optional<std::string>> {
    const sys::UniqueFd handle = TRY(open_object_in_layer(layer, version.path));
    return layer::encode_origin(layer, {handle.borrow(), ""});
  }();
  if (origin && *origin) {
    const auto known = entries_.find(layer::index_name(**origin));
    if (known != entries_.end()) {
      known->second.lower_nlink = static_cast<std::int64_t>(version.stat.nlink);
      const bool hidden =
          version.state == State::kHidden && version.reason.cause != Cause::kIndexed;
      known->second.hidden += hidden ? 1 : 0;
    }
  }
}

void IndexCheck::finish(std::vector<Finding>& findings) const {
  for (const auto& [name, known] : entries_) {
    if (!is_index_name(name)) {
      findings.push_back(finding_of(Problem::kBadIndexEntry, Weight::kError, name,
                                    "in the index of hard links, but no entry of it"));
      continue;
    }
    // As at a mount by the kernel (ovl_indexdir_cleanup()), which removes both.
    if (known.lower_nlink == 0) {
      findings.push_back(
          finding_of(Problem::kDanglingIndexEntry, Weight::kRepairable, name,
                     "an entry in the index of hard links whose lower file is in no layer"));
      continue;
    }
    const bool all_seen = stack_->options().volumes.empty();  // else names may lie below one
    if (known.names == 0 && all_seen) {
      findings.push_back(finding_of(Problem::kDanglingIndexEntry, Weight::kRepairable, name,
                                    "an entry in the index of hard links that no name shows"));
      continue;
    }
    const std::int64_t counted =
        known.entry.nlink_mark
            ? layer::union_link_count(*known.entry.nlink_mark,
                                      static_cast<std::int64_t>(known.entry.stat.nlink),
                                      known.lower_nlink)
            : known.lower_nlink;
    // The count begins as that of the lower inode, whose names may be hidden by layers above.
    const bool right = counted >= known.names && counted <= known.names + known.hidden;
    if (!right && all_seen) {
      findings.push_back(finding_of(Problem::kWrongLinkCount, Weight::kError, name,
                                    "a hard-linked file counts " + std::to_string(counted) +
                                        " names and has " + std::to_string(known.names)));
    }
  }
}

}  // namespace plyfs::dump
