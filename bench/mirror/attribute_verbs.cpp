// GETATTR, SETATTR, STATFS, and xattrs.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/xattr_names.h"
#include "fuse/raw_request.h"
#include "fuse/serve.h"
#include "mirror.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"

namespace plyfs::mirror {
namespace {

constexpr mode_t kPermissions = 07777;

sys::ObjectRef object_of(const Place& place) {
  return {sys::BorrowedFd{place.directory}, place.name};
}

void on_getattr(fuse_req_t request, fuse_ino_t id, fuse_file_info* /*file*/) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    Node& node = node_of(request, id);
    struct stat attributes {};
    {
      const Shared names{mirror.names};
      attributes = TRY(stat_of(TRY(place_of(mirror, node))));
    }
    // Of a regular file the kernel keeps mtime itself, and does not look at ours.
    (void)fuse_reply_attr(request, &attributes, mirror.attr_timeout_s(node));
    return {};
  });
}

timespec time_of(int to_set, int now, int value, const timespec& stamp) {
  if ((to_set & now) != 0) {
    return {0, UTIME_NOW};
  }
  return (to_set & value) != 0 ? stamp : timespec{0, UTIME_OMIT};
}

Status change(Mirror& mirror, Node& node, const struct stat& wanted, int to_set) {
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
    const File file = TRY(open_data(mirror, node, Slot::kReadWrite));
    TRY(called(::ftruncate(file.get(), wanted.st_size)));
  }
  const Place place = TRY(place_of(mirror, node));
  if ((to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    const uid_t uid = (to_set & FUSE_SET_ATTR_UID) != 0 ? wanted.st_uid : static_cast<uid_t>(-1);
    const gid_t gid = (to_set & FUSE_SET_ATTR_GID) != 0 ? wanted.st_gid : static_cast<gid_t>(-1);
    TRY(called(::fchownat(place.directory, place.name, uid, gid, place.flags)));
  }
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
    const mode_t mode = wanted.st_mode & kPermissions;
    TRY(sys::change_mode(object_of(place), mode));
    node.mode = (node.mode & S_IFMT) | mode;
  }
  const std::array<timespec, 2> times = {
      time_of(to_set, FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, wanted.st_atim),
      time_of(to_set, FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, wanted.st_mtim)};
  if (times[0].tv_nsec != UTIME_OMIT || times[1].tv_nsec != UTIME_OMIT) {
    TRY(called(::utimensat(place.directory, place.name, times.data(), place.flags)));
  }
  return {};
}

void on_setattr(fuse_req_t request, fuse_ino_t id, struct stat* wanted, int to_set,
                fuse_file_info* /*file*/) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    Node& node = node_of(request, id);
    struct stat attributes {};
    {
      const Shared names{mirror.names};
      // After unlink the kernel sends the times that it kept. Nobody can see them in the file.
      const bool unseen =
          fuse::raw_request().times_of_cache && node.parent == nullptr && !node.has_links;
      const bool sets_mtime = (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) != 0;
      if (!unseen) {
        TRY(change(mirror, node, *wanted, to_set));
      }
      attributes = TRY(stat_of(TRY(place_of(mirror, node))));
      if (sets_mtime && S_ISREG(attributes.st_mode)) {
        mirror.nodes.note_mtime(node, attributes.st_mtim);
      }
      node.mode = attributes.st_mode;
    }
    (void)fuse_reply_attr(request, &attributes, mirror.attr_timeout_s(node));
    return {};
  });
}

void on_statfs(fuse_req_t request, fuse_ino_t /*id*/) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    struct statvfs facts {};
    TRY(called(::fstatvfs(mirror.nodes.root().file(Slot::kPlace), &facts)));
    (void)fuse_reply_statfs(request, &facts);
    return {};
  });
}

void on_getxattr(fuse_req_t request, fuse_ino_t id, const char* name, std::size_t size) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    Node& node = node_of(request, id);
    // The kernel asks this of each file before the first write.
    if (node.made_by_us && std::strcmp(name, kCapabilityXattr) == 0) {
      return Errno{ENODATA};
    }
    char* const buffer = fuse::thread_buffer(size);
    std::size_t got = 0;
    {
      const Shared names{mirror.names};
      got = TRY(sys::get_xattr_raw(object_of(TRY(place_of(mirror, node))), name, buffer, size));
    }
    (void)(size == 0 ? fuse_reply_xattr(request, got) : fuse_reply_buf(request, buffer, got));
    return {};
  });
}

void on_listxattr(fuse_req_t request, fuse_ino_t id, std::size_t size) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    std::string found;
    {
      const Shared names{mirror.names};
      found = TRY(sys::list_xattrs(object_of(TRY(place_of(mirror, node_of(request, id))))));
    }
    if (size == 0) {
      (void)fuse_reply_xattr(request, found.size());
    } else if (found.size() > size) {
      return Errno{ERANGE};
    } else {
      (void)fuse_reply_buf(request, found.data(), found.size());
    }
    return {};
  });
}

template <typename Change>
void change_xattr(fuse_req_t request, fuse_ino_t id, Change change) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    Node& node = node_of(request, id);
    {
      const Shared names{mirror.names};
      node.made_by_us = false;
      TRY(change(object_of(TRY(place_of(mirror, node)))));
    }
    (void)fuse_reply_err(request, 0);
    return {};
  });
}

void on_setxattr(fuse_req_t request, fuse_ino_t id, const char* name, const char* value,
                 std::size_t size, int flags) {
  change_xattr(request, id, [&](sys::ObjectRef object) {
    return sys::set_xattr(object, name, {value, size}, flags);
  });
}

void on_removexattr(fuse_req_t request, fuse_ino_t id, const char* name) {
  change_xattr(request, id, [&](sys::ObjectRef object) { return sys::remove_xattr(object, name); });
}

}  // namespace

void add_attribute_verbs(fuse_lowlevel_ops& table) {
  table.getattr = on_getattr;
  table.setattr = on_setattr;
  table.statfs = on_statfs;
  table.getxattr = on_getxattr;
  table.listxattr = on_listxattr;
  table.setxattr = on_setxattr;
  table.removexattr = on_removexattr;
}

}  // namespace plyfs::mirror
