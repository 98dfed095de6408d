// CREATE, MKNOD, MKDIR, SYMLINK, and OPEN, which is not answered.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/raw_request.h"
#include "mirror.h"
#include "sys/creds.h"

namespace plyfs::mirror {
namespace {

/// Calls `make(directory)` as the caller, and returns what it says.
template <typename Make>
auto as_caller(fuse_req_t request, fuse_ino_t parent, Make make) -> decltype(make(0)) {
  const fuse_ctx* const caller = fuse_req_ctx(request);
  Mirror& mirror = mirror_of(request);
  const int directory = TRY(directory_of(mirror, node_of(request, parent)));
  sys::set_thread_umask(caller->umask & 0777);
  const sys::ScopedOwner owner{caller->uid, caller->gid};
  if (!owner.granted() || !owner.group_granted()) {
    return Errno{EPERM};
  }
  return make(directory);
}

template <typename Make>
void make_entry(fuse_req_t request, fuse_ino_t parent, const char* name, Make make) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    fuse_entry_param param{};
    {
      const Shared names{mirror.names};
      TRY(as_caller(request, parent, [&](int directory) { return called(make(directory)); }));
      Node& above = node_of(request, parent);
      struct stat attributes =
          TRY(stat_of({TRY(directory_of(mirror, above)), name, AT_SYMLINK_NOFOLLOW}));
      param = param_of(mirror, mirror.nodes.enter(above, name, attributes), attributes);
    }
    (void)fuse_reply_entry(request, &param);
    return {};
  });
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  make_entry(request, parent, name,
             [&](int directory) { return ::mkdirat(directory, name, mode); });
}

void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  make_entry(request, parent, name,
             [&](int directory) { return ::mknodat(directory, name, mode, device); });
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  make_entry(request, parent, name,
             [&](int directory) { return ::symlinkat(target, directory, name); });
}

/// The descriptor that made the file is the one that writes it.
void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* file) {
  serve(request, [&]() -> Status {
    Mirror& mirror = mirror_of(request);
    const bool unnamed = fuse::raw_request().unnamed;
    const int how = unnamed ? O_TMPFILE : O_CREAT | O_EXCL | O_NOFOLLOW;
    fuse_entry_param param{};
    {
      const Shared names{mirror.names};
      sys::UniqueFd made{static_cast<int>(TRY(as_caller(request, parent, [&](int directory) {
        return called(::openat(directory, unnamed ? "." : name, how | O_RDWR | O_CLOEXEC,
                               mode & ~static_cast<mode_t>(S_IFMT)));
      })))};
      struct stat attributes = TRY(stat_of({made.borrow().get(), "", AT_EMPTY_PATH}));
      Node& node = unnamed ? mirror.nodes.enter_unnamed(attributes)
                           : mirror.nodes.enter(node_of(request, parent), name, attributes);
      node.made_by_us = true;
      if (unnamed) {
        node.file(Slot::kReadWrite) = made.release();  // whatever the limit: it has no other way
        mirror.kept.fetch_add(1, std::memory_order_relaxed);
      } else {
        (void)keep(mirror, node, Slot::kReadWrite, std::move(made));
      }
      param = param_of(mirror, node, attributes);
    }
    file->fh = 0;
    file->keep_cache = 1;
    (void)fuse_reply_create(request, &param, file);
    return {};
  });
}

// ENOSYS once: from then on the kernel opens without a message, and sends no RELEASE.
void on_open(fuse_req_t request, fuse_ino_t /*id*/, fuse_file_info* /*file*/) {
  (void)fuse_reply_err(request, ENOSYS);
}

void on_release(fuse_req_t request, fuse_ino_t /*id*/, fuse_file_info* /*file*/) {
  (void)fuse_reply_err(request, 0);
}

}  // namespace

void add_making_verbs(fuse_lowlevel_ops& table) {
  table.mkdir = on_mkdir;
  table.mknod = on_mknod;
  table.symlink = on_symlink;
  table.create = on_create;
  table.open = on_open;
  table.release = on_release;
}

}  // namespace plyfs::mirror
