// LOOKUP, FORGET, LINK, UNLINK, RMDIR, RENAME, READLINK.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>

#include "mirror.h"

namespace plyfs::mirror {
namespace {

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    fuse_entry_param param{};
    {
      const Shared names{mirror.names};
      Node& above = node_of(request, parent);
      auto found = stat_of({TRY(directory_of(mirror, above)), name, AT_SYMLINK_NOFOLLOW});
      if (found) {
        param = param_of(mirror, mirror.nodes.enter(above, name, *found), *found);
      } else if (found.error() == ENOENT) {
        param.entry_timeout =
            mirror.entry_timeout_s();  // inode 0: the kernel remembers that it is absent
      } else {
        return found.error();
      }
    }
    (void)fuse_reply_entry(request, &param);
    return {};
  });
}

void forget(fuse_req_t request, fuse_ino_t id, std::uint64_t count) {
  if (id == FUSE_ROOT_ID) {
    return;
  }
  Mirror& mirror = mirror_of(request);
  Node& node = node_of(request, id);
  std::size_t freed = 0;
  for (const Slot slot : {Slot::kRead, Slot::kReadWrite}) {
    freed += node.file(slot) >= 0 ? 1 : 0;
  }
  const bool gone = mirror.nodes.forget(node, count, [&](Node& last) {
    // Without a name, and never with more than one: nobody can see its times any more.
    if (last.parent != nullptr || last.has_links) {
      if (const Status settled = settle_mtime(mirror, last); !settled) {
        (void)std::fprintf(stderr, "plyfs-bench-mirror: mtime: %s\n",
                           settled.error().message().c_str());
      }
    }
  });
  if (gone) {
    mirror.kept.fetch_sub(freed, std::memory_order_relaxed);
  }
}

void on_forget(fuse_req_t request, fuse_ino_t id, std::uint64_t count) {
  forget(request, id, count);
  fuse_reply_none(request);
}

void on_forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) {
    forget(request, forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(request);
}

/// Whoever has the file open reaches it by no name: so it is held before the name goes.
void remove(fuse_req_t request, fuse_ino_t parent, const char* name, int flags) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    {
      const Exclusive names{mirror.names};
      Node& above = node_of(request, parent);
      Node* const node = mirror.nodes.find(above, name);
      if (node != nullptr) {
        TRY(hold(mirror, *node));
      }
      TRY(called(::unlinkat(TRY(directory_of(mirror, above)), name, flags)));
      if (node != nullptr) {
        mirror.nodes.lose_name(*node);
      }
    }
    (void)fuse_reply_err(request, 0);
    return {};
  });
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  remove(request, parent, name, 0);
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  remove(request, parent, name, AT_REMOVEDIR);
}

/// The new name becomes the node's: of two names that are both asked for again, later, the kernel
/// gets an inode for each.
void on_link(fuse_req_t request, fuse_ino_t id, fuse_ino_t new_parent, const char* new_name) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    Node& node = node_of(request, id);
    TRY(settle_mtime(mirror, node));
    fuse_entry_param param{};
    {
      const Exclusive names{mirror.names};
      TRY(hold(mirror, node));
      const Place place = TRY(place_of(mirror, node));
      Node& above = node_of(request, new_parent);
      std::array<char, 32> path{};
      (void)std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", place.directory);
      TRY(called(::linkat(AT_FDCWD, path.data(), TRY(directory_of(mirror, above)), new_name,
                          AT_SYMLINK_FOLLOW)));
      node.has_links = true;
      const struct stat attributes = TRY(stat_of(place));
      mirror.nodes.move(node, above, new_name);
      mirror.nodes.count_lookup(node);
      param = param_of(mirror, node, attributes);
    }
    (void)fuse_reply_entry(request, &param);
    return {};
  });
}

void on_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    {
      const Exclusive names{mirror.names};
      Node& from = node_of(request, parent);
      Node& to = node_of(request, new_parent);
      Node* const moved = mirror.nodes.find(from, name);
      Node* const replaced = mirror.nodes.find(to, new_name);
      if (replaced != nullptr) {
        TRY(hold(mirror, *replaced));
      }
      TRY(called(::renameat2(TRY(directory_of(mirror, from)), name, TRY(directory_of(mirror, to)),
                             new_name, flags)));
      if (replaced != nullptr && (flags & RENAME_EXCHANGE) != 0) {
        mirror.nodes.move(*replaced, from, name);
      } else if (replaced != nullptr) {
        mirror.nodes.lose_name(*replaced);
      }
      if (moved != nullptr) {
        mirror.nodes.move(*moved, to, new_name);
      }
    }
    (void)fuse_reply_err(request, 0);
    return {};
  });
}

void on_readlink(fuse_req_t request, fuse_ino_t id) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    std::array<char, PATH_MAX + 1> target{};
    {
      const Shared names{mirror.names};
      const Place place = TRY(place_of(mirror, node_of(request, id)));
      TRY(called(::readlinkat(place.directory, place.name, target.data(), PATH_MAX)));
    }
    (void)fuse_reply_readlink(request, target.data());
    return {};
  });
}

}  // namespace

void add_name_verbs(fuse_lowlevel_ops& table) {
  table.lookup = on_lookup;
  table.forget = on_forget;
  table.forget_multi = on_forget_multi;
  table.unlink = on_unlink;
  table.rmdir = on_rmdir;
  table.link = on_link;
  table.rename = on_rename;
  table.readlink = on_readlink;
}

}  // namespace plyfs::mirror
