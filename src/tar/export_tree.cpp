#include "tar/export_tree.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "sys/dir_stream.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"
#include "tar/acl.h"

namespace plyfs::tar {
namespace {

Result<std::vector<std::string>> sorted_names(sys::BorrowedFd directory) {
  std::vector<std::string> names;
  TRY(sys::read_directory(directory, [&](const sys::RawEntry& entry) {
    names.emplace_back(entry.name, entry.name_size);
    return sys::Visit::kContinue;
  }));
  std::ranges::sort(names);
  return names;
}

Status add_xattrs(archive_entry* entry, sys::ObjectRef object, const FileStat& stat) {
  const std::string names = TRY(sys::list_xattrs(object));
  for (std::size_t at = 0; at < names.size(); at += std::strlen(&names[at]) + 1) {
    const std::string name = &names[at];
    const auto value = TRY(sys::get_xattr(object, name.c_str()));
    if (!value) {
      continue;
    }
    if (name == kAccessAcl) {
      TRY(put_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, *value));
    } else if (name == kDefaultAcl && stat.is_directory()) {
      TRY(put_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, *value));
    } else {
      archive_entry_xattr_add_entry(entry, name.c_str(), value->data(), value->size());
    }
  }
  return {};
}

/// Where the file has data. Empty when it has no holes.
Result<std::vector<Extent>> extents_of(sys::BorrowedFd file, const FileStat& stat) {
  std::vector<Extent> extents;
  if (stat.blocks_512 * 512 >= stat.size_bytes) {
    return extents;
  }
  for (std::int64_t at = 0; at < stat.size_bytes;) {
    const auto begin = sys::seek(file, at, sys::kSeekData);
    if (!begin && begin.error() == ENXIO) {
      break;
    }
    const std::int64_t end = TRY(sys::seek(file, TRY(Result<std::int64_t>{begin}), sys::kSeekHole));
    extents.push_back({*begin, std::min(end, stat.size_bytes)});
    at = end;
  }
  if (extents.empty()) {
    extents.push_back({stat.size_bytes, stat.size_bytes});  // nothing but a hole
  } else if (extents.front().begin == 0 && extents.front().end == stat.size_bytes) {
    extents.clear();
  }
  return extents;
}

class Exporter {
 public:
  Exporter(TarOutput& output, const ExportEvents& events, std::string& at)
      : output_(output), events_(events), at_(at) {}

  /// One descriptor is open, of the directory at hand, however deep it lies; the way back leads by
  /// "..", which must be where we came from.
  Status run(sys::BorrowedFd root) {
    here_ = TRY(sys::duplicate(root));
    TRY(enter({}));
    while (!levels_.empty()) {
      if (levels_.back().next == levels_.back().names.size()) {
        TRY(leave());
        continue;
      }
      const std::string name = levels_.back().names[levels_.back().next++];
      const std::string path = path_.empty() ? name : path_ + '/' + name;
      TRY(add({here_.borrow(), name.c_str()}, path));
    }
    return {};
  }

 private:
  struct Level {
    std::size_t path_size = 0;  ///< of the directory above
    std::vector<std::string> names;
    std::size_t next = 0;
    dev_t dev = 0;
    ino_t ino = 0;
  };

  /// `here_` is the directory.
  Status enter(const std::string& path) {
    at_ = path;
    const FileStat stat = TRY(sys::stat_object({here_.borrow(), ""}));
    const Entry entry = TRY(describe(path, stat, {here_.borrow(), ""}));
    TRY(output_.write_header(entry.get()));
    count();
    std::vector<std::string> names = TRY(sorted_names(here_.borrow()));
    levels_.push_back({path_.size(), std::move(names), 0, stat.dev, stat.ino});
    path_ = path;
    return {};
  }

  Status leave() {
    path_.resize(levels_.back().path_size);
    levels_.pop_back();
    if (levels_.empty()) {
      return {};
    }
    here_ = TRY(sys::open_listing({here_.borrow(), ".."}));
    const FileStat stat = TRY(sys::stat_object({here_.borrow(), ""}));
    const bool same = stat.dev == levels_.back().dev && stat.ino == levels_.back().ino;
    return same ? Status{} : Status{Errno{EAGAIN}};  // moved meanwhile
  }

  Status add(sys::ObjectRef object, const std::string& path) {
    at_ = path;
    const auto listed = sys::stat_object(object);
    if (!listed) {
      return listed.error() == ENOENT ? Status{} : Status{listed.error()};
    }
    if (listed->is_directory()) {
      auto directory = sys::open_listing(object);
      if (!directory) {
        return directory.error() == ENOENT ? Status{} : Status{directory.error()};
      }
      here_ = *std::move(directory);
      return enter(path);
    }
    if (listed->type() == kTypeSocket) {
      events_.left_out(path);
      return {};
    }
    if (listed->nlink > 1) {
      const auto [first, is_new] = links_.try_emplace({listed->dev, listed->ino}, path);
      if (!is_new) {
        return add_link(path, first->second, *listed);
      }
    }
    return listed->is_regular() ? add_file(object, path) : add_other(object, path);
  }

  Status add_link(const std::string& path, const std::string& target, const FileStat& stat) {
    const Entry entry = TRY(new_entry(path, stat));
    archive_entry_set_hardlink(entry.get(), target.c_str());
    count();
    return output_.write_header(entry.get());
  }

  Status add_file(sys::ObjectRef object, const std::string& path) {
    const auto file = sys::open_file(object, sys::Access::kRead);
    if (!file) {
      return gone(file.error(), path);
    }
    // Of what is open, whatever has that name by now.
    const FileStat stat = TRY(sys::stat_object({file->borrow(), ""}));
    if (!stat.is_regular()) {
      return Errno{EAGAIN};
    }
    const Entry entry = TRY(describe(path, stat, {file->borrow(), ""}));
    archive_entry_set_size(entry.get(), stat.size_bytes);
    const auto extents = TRY(extents_of(file->borrow(), stat));
    for (const Extent& extent : extents) {
      archive_entry_sparse_add_entry(entry.get(), extent.begin, extent.end - extent.begin);
    }
    TRY(output_.write_header(entry.get()));
    count();
    return output_.write_data(file->borrow(), stat.size_bytes, extents, [this](std::size_t bytes) {
      bytes_ += bytes;
      events_.progress(entries_, bytes_);
    });
  }

  Status add_other(sys::ObjectRef object, const std::string& path) {
    const auto handle = sys::open_handle(object);
    if (!handle) {
      return gone(handle.error(), path);
    }
    const sys::ObjectRef held{handle->borrow(), ""};
    const FileStat stat = TRY(sys::stat_object(held));
    const Entry entry = TRY(describe(path, stat, held));
    if (stat.is_symlink()) {
      archive_entry_set_symlink(entry.get(), TRY(sys::read_link(held)).c_str());
    }
    count();
    return output_.write_header(entry.get());
  }

  /// A name that vanished since it was listed takes its claim on being the first link with it.
  Status gone(Errno error, const std::string& path) {
    if (error == ENOENT) {
      std::erase_if(links_, [&](const auto& link) { return link.second == path; });
      return {};
    }
    return error;
  }

  static Result<Entry> describe(const std::string& path, const FileStat& stat,
                                sys::ObjectRef object) {
    Entry entry = TRY(new_entry(path, stat));
    const timespec atime = printable_time(stat.atime);
    archive_entry_set_atime(entry.get(), atime.tv_sec, atime.tv_nsec);
    TRY(add_xattrs(entry.get(), object, stat));
    return entry;
  }

  void count() {
    ++entries_;
    events_.progress(entries_, bytes_);
  }

  TarOutput& output_;
  const ExportEvents& events_;
  std::string& at_;
  sys::UniqueFd here_;
  std::string path_;  ///< of `here_`
  std::vector<Level> levels_;
  std::uint64_t entries_ = 0;
  std::uint64_t bytes_ = 0;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
};

}  // namespace

namespace {

std::uint64_t content_bytes(sys::BorrowedFd root, int depth) {
  constexpr int kMostDepth = 200;  // deeper ones hold descriptors, and seldom much else
  std::uint64_t bytes = 0;
  if (depth == kMostDepth) {
    return bytes;
  }
  // Not by `root`, which is to be read from its start afterwards.
  const auto listed = sys::open_listing({root, "."});
  const auto names =
      listed ? sorted_names(listed->borrow()) : Result<std::vector<std::string>>{listed.error()};
  if (!names) {
    return bytes;
  }
  for (const std::string& name : *names) {
    const auto stat = sys::stat_object({root, name.c_str()});
    if (!stat) {
      continue;
    }
    if (stat->is_regular()) {
      bytes += static_cast<std::uint64_t>(std::min(stat->size_bytes, stat->blocks_512 * 512));
    } else if (stat->is_directory()) {
      if (const auto below = sys::open_handle({root, name.c_str()})) {
        bytes += content_bytes(below->borrow(), depth + 1);
      }
    }
  }
  return bytes;
}

}  // namespace

std::uint64_t content_bytes(sys::BorrowedFd root) { return content_bytes(root, 0); }

Status export_tree(sys::BorrowedFd root, TarOutput& output, const ExportEvents& events,
                   std::string& at) {
  return Exporter{output, events, at}.run(root);
}

}  // namespace plyfs::tar
