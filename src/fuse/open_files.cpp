// Opening and closing files, where that is asked for at all: OPEN, CREATE, FLUSH and RELEASE, and
// how the kernel may cache.
#include <fuse_lowlevel.h>

#include <cerrno>
#include <utility>

#include "fuse/backed_files.h"
#include "fuse/raw_request.h"
#include "fuse/serve.h"

namespace plyfs::fuse {
namespace {

using Opened = BackedFiles::Opened;
using Writes = BackedFiles::Writes;

Writes writes(const fuse_file_info& file) {
  return (file.flags & O_ACCMODE) == O_RDONLY ? Writes::kNo : Writes::kYes;
}

sys::Access access_of(const fuse_file_info& file) {
  return writes(file) == Writes::kYes ? sys::Access::kReadWrite : sys::Access::kRead;
}

bool is_close_to_open(fuse_req_t request, fuse_ino_t id) {
  return is_volume(id) && volumes(request).is_close_to_open(volume_node_of(id));
}

bool needs_flush(fuse_req_t request, fuse_ino_t id, const fuse_file_info& file) {
  return writes(file) == Writes::kYes && is_close_to_open(request, id);
}

/// Linux 5.16 asks no more at a close than it has to. Without FLUSH for anything (ENOSYS) nothing
/// needs to be said.
void set_flushing(fuse_req_t request, fuse_ino_t id, fuse_file_info& file) {
  file.noflush = dispatcher(request).answer_flushes && !needs_flush(request, id, file) ? 1 : 0;
}

/// Appends through the page cache reach us page by page, and another writer's line would come
/// between (D-039). Past it they come whole. Any file that may be written may become one for
/// appending, and we are not told; but a file past the page cache that cannot be mapped shared
/// (before Linux 6.6) would be no use to a database.
void set_caching(fuse_req_t request, fuse_ino_t id, fuse_file_info& file) {
  const bool may_append = writes(file) == Writes::kYes &&
                          ((file.flags & O_APPEND) != 0 || dispatcher(request).maps_direct_io);
  set_flushing(request, id, file);
  file.fh = 0;
  // Another machine may have changed what its clock, or this filesystem, has no other mtime for.
  file.keep_cache = is_close_to_open(request, id) ? 0 : 1;
  file.direct_io = is_volume(id) && may_append ? 1 : 0;
  if (file.direct_io != 0 && !dispatcher(request).maps_direct_io) {
    file.fh = kLeavesOldPages;
  }
}

/// O_TRUNC comes with OPEN where opens are answered for passthrough (choose_caching()).
Status truncate(fuse_req_t request, fuse_ino_t id) {
  AttrChange change;
  change.size_bytes = 0;
  change.mtime.kind = TimeChange::Kind::kNow;
  change.kill_suid_sgid = raw_request().kill_suid_sgid;
  TRY(on_node(request, id,
              [&](auto& fs, auto& node) { return fs.setattr(context_of(request), node, change); }));
  return {};
}

/// Passthrough to a file of the upper. One of a lower layer that is only read is cached as ever:
/// then its readers see what others write after a copy-up.
Result<Opened> open_backed(fuse_req_t request, fuse_ino_t id, fuse_file_info& file) {
  const Writes intent = writes(file);
  node::Node& node = node_of(request, id);
  const sys::FdPin lent = TRY(filesystem(request).open_for_kernel(node, access_of(file)));
  BackedFiles& backed = *dispatcher(request).backed_files;
  const Opened opened = backed.open(id, lent ? lent->borrow() : sys::BorrowedFd{}, intent);
  set_flushing(request, id, file);
  file.fh = opened.handle();
  // Nothing is kept of a file that the kernel may have written by itself before.
  file.keep_cache = opened.backing == 0 && !node.in_upper() ? 1 : 0;
  raw_request().backing = opened.backing;
  return opened;
}

Status answer_open(fuse_req_t request, fuse_ino_t id, fuse_file_info& file) {
  BackedFiles* const backed = dispatcher(request).backed_files;
  if (backed == nullptr || is_volume(id)) {
    if (is_volume(id)) {
      TRY(volumes(request).open(volume_node_of(id), access_of(file)));
    }
    set_caching(request, id, file);
    (void)fuse_reply_open(request, &file);
    return {};
  }
  const Opened opened = TRY(open_backed(request, id, file));
  const bool lent = opened.backing != 0 && opened.writes == Writes::kYes;
  if (lent || raw_request().kill_suid_sgid) {
    // What the kernel knows of times may be wrong from the first store into a mapping, and of the
    // mode when O_TRUNC has taken suid bits.
    (void)fuse_lowlevel_notify_inval_inode(dispatcher(request).session, id, -1, 0);
  }
  if (fuse_reply_open(request, &file) != 0) {
    backed->release(id, opened);
  }
  return {};
}

template <typename Fs, typename Node>
Status create(fuse_req_t request, Fs& fs, Node& directory, const char* name, mode_t mode,
              fuse_file_info& file) {
  auto made = raw_request().unnamed ? fs.create_unnamed(context_of(request), directory, mode)
                                    : fs.create(context_of(request), directory, name, mode);
  auto entry = TRY(std::move(made));
  const fuse_ino_t id = id_of(dispatcher(request), *entry.node);
  BackedFiles* const backed = is_volume(id) ? nullptr : dispatcher(request).backed_files;
  Opened opened;
  if (backed != nullptr) {
    opened = TRY(open_backed(request, id, file));
  } else {
    set_caching(request, id, file);
  }
  const fuse_entry_param param = param_of(dispatcher(request), entry);
  auto* const node = entry.node.give_to_kernel();
  if (fuse_reply_create(request, &param, &file) != 0) {
    if (backed != nullptr) {
      backed->release(id, opened);
    }
    fs.forget(*node, 1);
  }
  return {};
}

}  // namespace

void on_open(fuse_req_t request, fuse_ino_t id, fuse_file_info* file) {
  if (!dispatcher(request).answer_opens) {
    // Once: from then on the kernel opens without a message (and sends no RELEASE).
    (void)fuse_reply_err(request, ENOSYS);
    return;
  }
  serve(request, "open", id, nullptr, [&]() -> Status {
    if (writes(*file) == Writes::kYes) {
      if (is_volume(id)) {
        TRY(volumes(request).writable(volume_node_of(id)));
      } else if (filesystem(request).read_only()) {
        return Errno{EROFS};
      }
    }
    if ((file->flags & O_TRUNC) != 0) {
      TRY(truncate(request, id));
    }
    return answer_open(request, id, *file);
  });
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* file) {
  serve(request, "create", parent, name, [&]() -> Status {
    if (!raw_request().unnamed) {
      TRY(not_taken(request, parent, name));
    }
    const Status made = on_node(request, parent, [&](auto& fs, auto& node) {
      return create(request, fs, node, name, mode, *file);
    });
    if (!made && made.error() == EEXIST && is_volume(parent) && (file->flags & O_EXCL) == 0) {
      // Somebody else made it since the kernel asked. It looks again after ESTALE, and opens what
      // is there, with the checks that opening needs.
      return Errno{ESTALE};
    }
    return made;
  });
}

void on_flush(fuse_req_t request, fuse_ino_t id, fuse_file_info* /*file*/) {
  if (!dispatcher(request).answer_flushes) {
    (void)fuse_reply_err(request, ENOSYS);  // once: the kernel asks no more
    return;
  }
  serve(request, "flush", id, nullptr, [&]() -> Status {
    if (is_volume(id)) {
      TRY(volumes(request).flush(volume_node_of(id)));
    }
    (void)fuse_reply_err(request, 0);
    return {};
  });
}

void on_release(fuse_req_t request, fuse_ino_t id, fuse_file_info* file) {
  serve(request, "release", id, nullptr, [&]() -> Status {
    BackedFiles* const backed = dispatcher(request).backed_files;
    if (needs_flush(request, id, *file)) {
      volumes(request).closed(volume_node_of(id));
    }
    if (backed != nullptr && !is_volume(id)) {
      backed->release(id, Opened::of_handle(file->fh));
    }
    (void)fuse_reply_err(request, 0);
    return {};
  });
}

}  // namespace plyfs::fuse
