#include "image/object.h"

#include <algorithm>
#include <cstring>

#include "dump/content.h"
#include "layer/format.h"
#include "layer/link_index.h"
#include "layer/marks.h"
#include "layer/workdir.h"
#include "merge/listing.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs::image {
namespace {

constexpr std::size_t kCompareBytes = 256 * 1024;

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool same_attributes(const FileStat& a, const FileStat& b) {
  const bool equal = a.mode == b.mode && a.uid == b.uid && a.gid == b.gid;
  if (!equal || a.is_directory()) {
    return equal;
  }
  return same_time(a.mtime, b.mtime) && a.size_bytes == b.size_bytes && a.rdev == b.rdev;
}

Result<bool> same_data(sys::BorrowedFd a, sys::BorrowedFd b) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(2 * kCompareBytes);
  char* const other = buffer.get() + kCompareBytes;
  for (std::int64_t at = 0;;) {
    const std::size_t got = TRY(sys::read_at(a, buffer.get(), kCompareBytes, at));
    const std::size_t too = TRY(sys::read_at(b, other, kCompareBytes, at));
    if (got != too || std::memcmp(buffer.get(), other, got) != 0) {
      return false;
    }
    if (got < kCompareBytes) {
      return true;
    }
    at += static_cast<std::int64_t>(got);
  }
}

}  // namespace

Result<std::unique_ptr<View>> View::open(const dump::OpenStack& stack) {
  std::unique_ptr<View> view{new View{stack}};
  view->has_indexed_ = stack.has_index() && !TRY(layer::holds_nothing(stack.index()));
  return view;
}

Result<Object> View::root_object() const {
  Object object;
  object.layer = stack_.first();
  object.handle = TRY(sys::duplicate(stack_.layers()[object.layer].root.borrow()));
  object.stat = TRY(sys::stat_object(object.ref()));
  return object;
}

Result<std::optional<Object>> View::find(dump::Directory& parent, const std::string& name) const {
  merge::Resolution found = TRY(stack_.lookup().find(parent, name.c_str(), {}));
  if (!found.found) {
    return std::optional<Object>{};
  }
  Object object;
  object.stat = found.stat;
  object.layer = found.layer;
  object.data = std::move(found.data);
  object.metacopy = object.data.has_value();
  object.parts = std::move(found.parts);
  merge::DirectoryParts& parts = parent.parts();
  for (std::size_t index = 0; index < parts.size(); ++index) {
    if (parts[index].layer == found.layer) {
      const sys::FdPin directory = TRY(parent.open_part(index));
      object.handle = TRY(sys::open_handle({directory->borrow(), name.c_str()}));
      const std::string above = parent.part_path(index);
      object.path = above.empty() ? name : above + '/' + name;
    }
  }
  if (!object.handle.valid()) {
    return Errno{ESTALE};
  }
  if (!object.stat.is_directory() && object.stat.nlink > 1) {
    object.link = LinkIdentity{object.stat.dev, object.stat.ino};
    if (object.layer != layer::kUpper && stack_.has_index()) {
      TRY(follow_index(object));
    }
  }
  return std::optional<Object>{std::move(object)};
}

/// Another name of a lower inode may have been copied up: then the index has what all names show.
Status View::follow_index(Object& object) const {
  const auto copy = TRY(layer::find_indexed(stack_.index(), stack_.layers()[object.layer],
                                            object.ref(), stack_.layers().reading()));
  if (!copy) {
    return {};
  }
  if (copy->marks.metacopy && !object.data) {
    object.data = merge::DataLocation{object.layer, object.path, object.stat.blocks_512, {}};
  } else if (!copy->marks.metacopy) {
    object.data.reset();
  }
  object.metacopy = object.data.has_value();
  object.handle = TRY(sys::open_handle({stack_.index(), copy->name.c_str()}));
  object.stat = copy->stat;
  object.layer = layer::kUpper;
  object.link = LinkIdentity{object.stat.dev, object.stat.ino};
  return {};
}

Result<std::vector<std::string>> View::names(dump::Directory& directory) const {
  const auto listing = TRY(merge::list_directory(stack_.layers(), directory, 0));
  std::vector<std::string> names;
  names.reserve(listing->entries().size());
  for (const merge::ListedEntry& entry : listing->entries()) {
    names.emplace_back(listing->name(entry));
  }
  std::ranges::sort(names);
  return names;
}

Result<sys::UniqueFd> View::open_data(const Object& object) const {
  if (object.data) {
    return dump::open_file_in_layer(stack_.layers()[object.data->layer], object.data->path);
  }
  return sys::open_file_quietly(object.ref());
}

Result<std::vector<std::pair<std::string, std::string>>> public_xattrs(const Object& object) {
  std::vector<std::pair<std::string, std::string>> xattrs;
  const std::string names = TRY(sys::list_xattrs(object.ref()));
  for (std::size_t at = 0; at < names.size(); at += std::strlen(&names[at]) + 1) {
    const char* const name = &names[at];
    if (layer::classify_stored(name) == layer::NameClass::kPrivate) {
      continue;
    }
    if (auto value = TRY(sys::get_xattr(object.ref(), name))) {
      xattrs.emplace_back(name, *std::move(value));
    }
  }
  std::ranges::sort(xattrs);
  return xattrs;
}

Result<bool> same(const View& a_view, const Object& a, const View& b_view, const Object& b) {
  if (!same_attributes(a.stat, b.stat)) {
    return false;
  }
  if (TRY(public_xattrs(a)) != TRY(public_xattrs(b))) {
    return false;
  }
  if (a.stat.is_symlink()) {
    return TRY(sys::read_link(a.ref())) == TRY(sys::read_link(b.ref()));
  }
  if (!a.stat.is_regular()) {
    return true;
  }
  return same_content(a_view, a, b_view, b);
}

Result<bool> same_content(const View& a_view, const Object& a, const View& b_view,
                          const Object& b) {
  // The copy was never given data of its own: what it shows is the file below.
  if (a.metacopy && a.data && a.data->layer == (b.data ? b.data->layer : b.layer) &&
      a.data->path == (b.data ? b.data->path : b.path)) {
    return true;
  }
  const sys::UniqueFd a_file = TRY(a_view.open_data(a));
  const sys::UniqueFd b_file = TRY(b_view.open_data(b));
  return same_data(a_file.borrow(), b_file.borrow());
}

}  // namespace plyfs::image
