#include "mirror.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <utility>

#include "fuse/serve.h"

namespace plyfs::mirror {
namespace {

/// Keeps `fd` there, whatever the limit: the node's first stays.
int keep_always(Node& node, Slot slot, sys::UniqueFd fd) {
  int kept = -1;
  std::atomic<int>& file = node.file(slot);
  return file.compare_exchange_strong(kept, fd.borrow().get()) ? fd.release() : kept;
}

Result<sys::UniqueFd> open_at(int directory, const char* name, int flags) {
  return sys::UniqueFd{
      static_cast<int>(TRY(called(::openat(directory, name, flags | O_NOFOLLOW | O_CLOEXEC))))};
}

/// Reading leaves no trace in the file's time of access, where that is allowed.
Result<sys::UniqueFd> open_to_read(Mirror& mirror, int directory, const char* name, int flags) {
  if (mirror.quiet_reads.load(std::memory_order_relaxed)) {
    auto opened = open_at(directory, name, flags | O_NOATIME);
    if (opened || opened.error() != EPERM) {
      return opened;
    }
    mirror.quiet_reads = false;
  }
  return open_at(directory, name, flags);
}

Result<sys::UniqueFd> open_again(int file, int flags) {
  std::array<char, 32> path{};
  (void)std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", file);
  return sys::UniqueFd{static_cast<int>(TRY(called(::open(path.data(), flags | O_CLOEXEC))))};
}

}  // namespace

Result<int> directory_of(Mirror& mirror, Node& node) {
  if (const int kept = node.file(Slot::kPlace); kept >= 0) [[likely]] {
    return kept;
  }
  if (node.parent == nullptr) {
    return Errno{ENOENT};  // removed, and was never opened
  }
  const int parent = TRY(directory_of(mirror, *node.parent));
  auto opened = open_to_read(mirror, parent, node.name.c_str(), O_RDONLY | O_DIRECTORY);
  if (!opened && opened.error() == EACCES) {
    opened = open_at(parent, node.name.c_str(), O_PATH | O_DIRECTORY);
  }
  return keep_always(node, Slot::kPlace, TRY(std::move(opened)));
}

Result<Place> place_of(Mirror& mirror, Node& node) {
  for (const Slot slot : {Slot::kReadWrite, Slot::kRead, Slot::kPlace}) {
    if (const int kept = node.file(slot); kept >= 0) {
      return Place{kept, "", AT_EMPTY_PATH};
    }
  }
  if (node.parent == nullptr) {
    return Errno{ENOENT};
  }
  return Place{TRY(directory_of(mirror, *node.parent)), node.name.c_str(), AT_SYMLINK_NOFOLLOW};
}

Result<File> open_data(Mirror& mirror, Node& node, Slot slot) {
  if (const int kept = node.file(Slot::kReadWrite); kept >= 0) {
    return File{kept};
  }
  if (const int kept = node.file(Slot::kRead); slot == Slot::kRead && kept >= 0) {
    return File{kept};
  }
  const int flags = slot == Slot::kRead ? O_RDONLY : O_RDWR;
  const Place place = TRY(place_of(mirror, node));
  if (place.flags == AT_EMPTY_PATH) {
    return keep(mirror, node, slot, TRY(open_again(place.directory, flags)));
  }
  return keep(mirror, node, slot,
              TRY(slot == Slot::kRead ? open_to_read(mirror, place.directory, place.name, flags)
                                      : open_at(place.directory, place.name, flags)));
}

File keep(Mirror& mirror, Node& node, Slot slot, sys::UniqueFd fd) {
  if (mirror.kept.load(std::memory_order_relaxed) >= mirror.most_files) {
    return File{std::move(fd)};
  }
  const int own = fd.borrow().get();
  const int kept = keep_always(node, slot, std::move(fd));
  mirror.kept.fetch_add(kept == own ? 1 : 0, std::memory_order_relaxed);
  return File{kept};
}

Status hold(Mirror& mirror, Node& node) {
  if (node.is(S_IFDIR)) {
    TRY(directory_of(mirror, node));
    return {};
  }
  const Place place = TRY(place_of(mirror, node));
  if (place.flags != AT_EMPTY_PATH) {
    (void)keep_always(node, Slot::kPlace, TRY(open_at(place.directory, place.name, O_PATH)));
  }
  return {};
}

Result<struct stat> stat_of(const Place& place) {
  struct stat attributes {};
  TRY(called(::fstatat(place.directory, place.name, &attributes, place.flags)));
  return attributes;
}

Status settle_mtime(Mirror& mirror, Node& node) {
  const std::optional<timespec> mtime = mirror.nodes.take_mtime(node);
  if (!mtime) {
    return {};
  }
  const Shared names{mirror.names};
  const Place place = TRY(place_of(mirror, node));
  const std::array<timespec, 2> times = {timespec{0, UTIME_OMIT}, *mtime};
  TRY(called(::utimensat(place.directory, place.name, times.data(), place.flags)));
  return {};
}

double Mirror::attr_timeout_s(const Node& node) const {
  return !live ? timeout_s : node.is(S_IFDIR) ? fuse::kOneTick_s : 0;
}

fuse_entry_param param_of(const Mirror& mirror, const Node& node, const struct stat& attributes) {
  fuse_entry_param param{};
  param.ino = id_of(mirror, node);
  param.attr = attributes;
  param.attr_timeout = mirror.attr_timeout_s(node);
  param.entry_timeout = mirror.entry_timeout_s();
  return param;
}

const fuse_lowlevel_ops& callbacks() {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops made{};
    made.init = fuse::callbacks().init;
    made.opendir = fuse::callbacks().opendir;
    add_name_verbs(made);
    add_making_verbs(made);
    add_attribute_verbs(made);
    add_data_verbs(made);
    add_listing_verbs(made);
    return made;
  }();
  return table;
}

}  // namespace plyfs::mirror
