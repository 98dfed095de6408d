#include "fuse/dispatch.h"

#include <linux/fs.h>

#include <array>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/xattr_names.h"
#include "fuse/flusher.h"
#include "fuse/raw_request.h"
#include "fuse/reply.h"
#include "fuse/serve.h"
#include "fuse/spliced_read.h"

namespace plyfs::fuse {
namespace {

constexpr std::size_t kMaxRequest = 1024 * 1024;

Status reply_done(fuse_req_t request) {
  (void)fuse_reply_err(request, 0);
  return {};
}

Status reply_attr(fuse_req_t request, fuse_ino_t id, const FileStat& stat) {
  const struct stat raw = to_stat(stat);
  const double valid_s = on_node(request, id, [&](auto& /*fs*/, auto& node) {
    return timeouts_of(dispatcher(request), node).attr_s;
  });
  (void)fuse_reply_attr(request, &raw, valid_s);
  return {};
}

PrivilegedWrite privileged_write() {
  return raw_request().kill_suid_sgid ? PrivilegedWrite::kKillSuid : PrivilegedWrite::kKeepSuid;
}

/// FALLOCATE and COPY_FILE_RANGE carry no flag: only root keeps the bits.
PrivilegedWrite privileged_caller(fuse_req_t request) {
  return fuse_req_ctx(request)->uid == 0 ? PrivilegedWrite::kKeepSuid : PrivilegedWrite::kKillSuid;
}

/// After such changes the kernel asks for sizes and times, but goes by the mode that it knows, also
/// when it executes.
void tell_of_mode(fuse_req_t request, fuse_ino_t id, bool took_privileges) {
  if (took_privileges) {
    (void)fuse_lowlevel_notify_inval_inode(dispatcher(request).session, id, -1, 0);
  }
}

/// Passthrough excludes writeback, and opens without a message; so it is settled here which it is.
void choose_caching(Dispatcher& dispatcher) {
  if (dispatcher.backed_files == nullptr) {
    return;
  }
  if ((raw_request().offered_flags & kPassthrough) != 0) {
    raw_request().use_passthrough = true;
    dispatcher.writeback = false;
    dispatcher.answer_opens = true;
  } else {
    log::write(log::Level::kWarning, "no passthrough: the kernel does not offer it (Linux 6.9)");
    dispatcher.backed_files = nullptr;
  }
}

void on_init(void* user_data, fuse_conn_info* connection) {
  auto& dispatcher = *static_cast<Dispatcher*>(user_data);
  dispatcher.maps_direct_io = (raw_request().offered_flags & kDirectIoAllowMmap) != 0;
  choose_caching(dispatcher);
  unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                    FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS |
                    FUSE_CAP_DONT_MASK | FUSE_CAP_IOCTL_DIR;
  if (dispatcher.writeback) {
    wanted |= FUSE_CAP_WRITEBACK_CACHE;
  }
  if (dispatcher.backed_files != nullptr) {
    wanted |= FUSE_CAP_ATOMIC_O_TRUNC;  // or OPEN would copy up what is then thrown away
  }
  if (dispatcher.acl) {
    wanted |= FUSE_CAP_POSIX_ACL;
  }
  if (dispatcher.live_volumes) {
    wanted |= FUSE_CAP_AUTO_INVAL_DATA;  // others write there: pages go when mtime or size changed
  }
  // Not wanted, though libfuse has them on: ATOMIC_O_TRUNC loses O_TRUNC without OPEN messages;
  // splice is slower at 1 MiB. In the union AUTO_INVAL_DATA would throw away pages although we are
  // the only writer.
  connection->want = connection->capable & wanted;
  connection->max_write = kMaxRequest;
  connection->max_readahead = kMaxRequest;
  connection->time_gran = 1;
}

/// The mount point stays as long as the mount; what the directory there is, the host may change.
Status reply_mount_point(fuse_req_t request, volume::VolumeNode& root) {
  volume::VolumeEntry entry = TRY(volumes(request).enter(root));
  fuse_entry_param param = param_of(dispatcher(request), entry);
  param.entry_timeout = dispatcher(request).timeout_s;
  (void)entry.node.give_to_kernel();
  if (fuse_reply_entry(request, &param) != 0) {
    volumes(request).forget(root, 1);
  }
  return {};
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  serve(request, "lookup", parent, name, [&]() -> Status {
    if (volume::VolumeNode* const root = mount_point(request, parent, name)) {
      return reply_mount_point(request, *root);
    }
    const Status found = on_node(request, parent, [&](auto& fs, auto& node) -> Status {
      return reply_entry(request, fs, TRY(fs.lookup(node, name)));
    });
    if (found || found.error() != ENOENT || is_volume(parent)) {
      return found;
    }
    fuse_entry_param absent{};  // inode 0: the kernel remembers that there is nothing
    absent.entry_timeout = dispatcher(request).timeout_s;
    (void)fuse_reply_entry(request, &absent);
    return {};
  });
}

void forget(fuse_req_t request, fuse_ino_t id, std::uint64_t count) {
  if (id != FUSE_ROOT_ID) {
    on_node(request, id, [&](auto& fs, auto& node) { fs.forget(node, count); });
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

void on_getattr(fuse_req_t request, fuse_ino_t id, fuse_file_info* /*file*/) {
  serve(request, "getattr", id, nullptr, [&]() -> Status {
    return reply_attr(
        request, id,
        TRY(on_node(request, id, [](auto& fs, auto& node) { return fs.getattr(node); })));
  });
}

void on_setattr(fuse_req_t request, fuse_ino_t id, struct stat* attributes, int to_set,
                fuse_file_info* file) {
  serve(request, "setattr", id, nullptr, [&]() -> Status {
    AttrChange change = to_change(*attributes, to_set);
    if (change.size_bytes && file != nullptr && change.mtime.kind == TimeChange::Kind::kOmit) {
      // ftruncate(2), unlike truncate(2), changes mtime whatever the size was; without writeback
      // the kernel leaves that to us.
      change.mtime.kind = TimeChange::Kind::kNow;
    }
    change.kill_suid_sgid = raw_request().kill_suid_sgid;
    change.times_of_cache = raw_request().times_of_cache;
    return reply_attr(request, id, TRY(on_node(request, id, [&](auto& fs, auto& node) {
                        return fs.setattr(context_of(request), node, change);
                      })));
  });
}

void on_readlink(fuse_req_t request, fuse_ino_t id) {
  serve(request, "readlink", id, nullptr, [&]() -> Status {
    const std::string target =
        TRY(on_node(request, id, [](auto& fs, auto& node) { return fs.readlink(node); }));
    (void)fuse_reply_readlink(request, target.c_str());
    return {};
  });
}

/// Answers with what `make(fs, parent)` has made.
template <typename Make>
Status make_entry(fuse_req_t request, fuse_ino_t parent, const char* name, Make make) {
  TRY(not_taken(request, parent, name));
  return on_node(request, parent, [&](auto& fs, auto& node) -> Status {
    return reply_entry(request, fs, TRY(make(fs, node)));
  });
}

void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  serve(request, "mknod", parent, name, [&]() -> Status {
    return make_entry(request, parent, name, [&](auto& fs, auto& node) {
      return fs.mknod(context_of(request), node, name, mode, device);
    });
  });
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  serve(request, "mkdir", parent, name, [&]() -> Status {
    return make_entry(request, parent, name, [&](auto& fs, auto& node) {
      return fs.mkdir(context_of(request), node, name, mode);
    });
  });
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  serve(request, "symlink", parent, name, [&]() -> Status {
    return make_entry(request, parent, name, [&](auto& fs, auto& node) {
      return fs.symlink(context_of(request), target, node, name);
    });
  });
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  serve(request, "unlink", parent, name, [&]() -> Status {
    TRY(not_kept(request, parent, name));
    TRY(on_node(request, parent, [&](auto& fs, auto& node) { return fs.unlink(node, name); }));
    return reply_done(request);
  });
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  serve(request, "rmdir", parent, name, [&]() -> Status {
    const Status free = not_kept(request, parent, name);
    if (!free) {
      // A directory above a mount point is not empty.
      const volume::VolumeNode* const root = mount_point(request, parent, name);
      const bool above = root == nullptr || root->made_up() != nullptr;
      return above ? Errno{ENOTEMPTY} : free.error();
    }
    TRY(on_node(request, parent, [&](auto& fs, auto& node) { return fs.rmdir(node, name); }));
    return reply_done(request);
  });
}

void on_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  serve(request, "rename", parent, name, [&]() -> Status {
    TRY(not_kept(request, parent, name));
    TRY(not_kept(request, new_parent, new_name));
    TRY(on_nodes(request, parent, new_parent, [&](auto& fs, auto& from, auto& to) {
      return fs.rename(from, name, to, new_name, flags);
    }));
    return reply_done(request);
  });
}

void on_link(fuse_req_t request, fuse_ino_t id, fuse_ino_t new_parent, const char* new_name) {
  serve(request, "link", new_parent, new_name, [&]() -> Status {
    TRY(not_taken(request, new_parent, new_name));
    return on_nodes(request, id, new_parent, [&](auto& fs, auto& node, auto& parent) -> Status {
      return reply_entry(request, fs, TRY(fs.link(node, parent, new_name)));
    });
  });
}

// ENOSYS once: from then on the kernel opens without a message (and sends no RELEASE).
void on_opendir(fuse_req_t request, fuse_ino_t /*id*/, fuse_file_info* /*file*/) {
  (void)fuse_reply_err(request, ENOSYS);
}

void on_read(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
             fuse_file_info* /*file*/) {
  serve(request, "read", id, nullptr, [&]() -> Status {
    if (is_volume(id) && size >= kLeastSpliced) {
      const sys::FdPin file = TRY(volumes(request).pages_of(volume_node_of(id)));
      if (file && reply_spliced(request, file->borrow(), size, offset)) {
        return {};
      }
    }
    char* const buffer = reply_buffer(size);
    const std::size_t got = TRY(on_node(
        request, id, [&](auto& fs, auto& node) { return fs.read(node, buffer, size, offset); }));
    (void)fuse_reply_buf(request, buffer, got);
    return {};
  });
}

void on_write(fuse_req_t request, fuse_ino_t id, const char* data, std::size_t size, off_t offset,
              fuse_file_info* file) {
  serve(request, "write", id, nullptr, [&]() -> Status {
    const bool cached = raw_request().from_page_cache;
    const auto origin = cached ? WriteOrigin::kPageCache : WriteOrigin::kCaller;
    const auto place =
        !cached && (file->flags & O_APPEND) != 0 ? WritePlace::kAppend : WritePlace::kAtOffset;
    bool took = false;
    const std::size_t written = TRY(on_node(request, id, [&](auto& fs, auto& node) {
      return fs.write(context_of(request), node, data,
                      {offset, size, privileged_write(), origin, place, &took});
    }));
    tell_of_mode(request, id, took);
    if (!cached && is_volume(id) && file->fh == kLeavesOldPages) {
      dispatcher(request).flusher->after_writeback(
          id, [request, written] { (void)fuse_reply_write(request, written); });
      return {};
    }
    (void)fuse_reply_write(request, written);
    return {};
  });
}

/// Then ENOSYS, once, and the kernel asks no more: fsync(2) succeeds at once. What the kernel
/// has cached it sends before all the same.
bool needs_no_sync(fuse_req_t request) {
  return filesystem(request).never_syncs() && !dispatcher(request).live_volumes;
}

void on_fsync(fuse_req_t request, fuse_ino_t id, int data_only, fuse_file_info* /*file*/) {
  if (needs_no_sync(request)) {
    (void)fuse_reply_err(request, ENOSYS);
    return;
  }
  serve(request, "fsync", id, nullptr, [&]() -> Status {
    const SyncKind kind = data_only != 0 ? SyncKind::kData : SyncKind::kAll;
    TRY(on_node(request, id, [&](auto& fs, auto& node) { return fs.fsync(node, kind); }));
    return reply_done(request);
  });
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t id, int /*data_only*/, fuse_file_info* /*file*/) {
  if (needs_no_sync(request)) {
    (void)fuse_reply_err(request, ENOSYS);
    return;
  }
  serve(request, "fsyncdir", id, nullptr, [&]() -> Status {
    TRY(on_node(request, id, [](auto& fs, auto& node) { return fs.fsyncdir(node); }));
    return reply_done(request);
  });
}

void on_statfs(fuse_req_t request, fuse_ino_t id) {
  serve(request, "statfs", id, nullptr, [&]() -> Status {
    const struct statvfs raw =
        to_statvfs(TRY(on_node(request, id, [](auto& fs, auto& node) { return fs.statfs(node); })));
    (void)fuse_reply_statfs(request, &raw);
    return {};
  });
}

void answer_setxattr(fuse_req_t request, fuse_ino_t id, const char* name, std::string_view value,
                     int flags) {
  serve(request, "setxattr", id, name, [&]() -> Status {
    TRY(on_node(request, id, [&](auto& fs, auto& node) {
      return fs.setxattr(context_of(request), node, name, value, flags);
    }));
    return reply_done(request);
  });
}

void on_setxattr(fuse_req_t request, fuse_ino_t id, const char* name, const char* value,
                 std::size_t size, int flags) {
  if (!dispatcher(request).writeback || std::strcmp(name, kCapabilityXattr) != 0) {
    answer_setxattr(request, id, name, {value, size}, flags);
    return;
  }
  // Data that was written before and is still cached would take the new capability away again.
  serve(request, "setxattr", id, name, [&]() -> Status {
    dispatcher(request).flusher->after_writeback(
        id,
        [request, id, flags, kept_name = std::string{name}, kept_value = std::string{value, size}] {
          answer_setxattr(request, id, kept_name.c_str(), kept_value, flags);
        });
    return {};
  });
}

void on_getxattr(fuse_req_t request, fuse_ino_t id, const char* name, std::size_t size) {
  serve(request, "getxattr", id, name, [&]() -> Status {
    char* const buffer = thread_buffer(size);
    const std::size_t got = TRY(on_node(
        request, id, [&](auto& fs, auto& node) { return fs.getxattr(node, name, buffer, size); }));
    (void)(size == 0 ? fuse_reply_xattr(request, got) : fuse_reply_buf(request, buffer, got));
    return {};
  });
}

void on_listxattr(fuse_req_t request, fuse_ino_t id, std::size_t size) {
  serve(request, "listxattr", id, nullptr, [&]() -> Status {
    const std::string names = TRY(on_node(request, id, [&](auto& fs, auto& node) {
      return fs.listxattr(context_of(request), node);
    }));
    if (size == 0) {
      (void)fuse_reply_xattr(request, names.size());
      return {};
    }
    if (names.size() > size) {
      return Errno{ERANGE};
    }
    (void)fuse_reply_buf(request, names.data(), names.size());
    return {};
  });
}

void on_removexattr(fuse_req_t request, fuse_ino_t id, const char* name) {
  serve(request, "removexattr", id, name, [&]() -> Status {
    TRY(on_node(request, id, [&](auto& fs, auto& node) { return fs.removexattr(node, name); }));
    return reply_done(request);
  });
}

/// Of a change that the kernel does not cache: with writeback it keeps the file's times itself all
/// the same.
WriteOrigin direct_change(fuse_req_t request) {
  return dispatcher(request).writeback ? WriteOrigin::kPageCache : WriteOrigin::kCaller;
}

void on_fallocate(fuse_req_t request, fuse_ino_t id, int mode, off_t offset, off_t length,
                  fuse_file_info* /*file*/) {
  serve(request, "fallocate", id, nullptr, [&]() -> Status {
    bool took = false;
    TRY(on_node(request, id, [&](auto& fs, auto& node) {
      return fs.fallocate(context_of(request), node, mode,
                          {offset, static_cast<std::size_t>(length), privileged_caller(request),
                           direct_change(request), WritePlace::kAtOffset, &took});
    }));
    tell_of_mode(request, id, took);
    return reply_done(request);
  });
}

void on_copy_file_range(fuse_req_t request, fuse_ino_t from, off_t from_offset,
                        fuse_file_info* /*from_file*/, fuse_ino_t to, off_t to_offset,
                        fuse_file_info* /*to_file*/, std::size_t size, int /*flags*/) {
  serve(request, "copy_file_range", to, nullptr, [&]() -> Status {
    bool took = false;
    const std::size_t copied = TRY(on_nodes(
        request, from, to, [&](auto& fs, auto& source, auto& target) -> Result<std::size_t> {
          return fs.copy_file_range(context_of(request), source, from_offset, target,
                                    {to_offset, size, privileged_caller(request),
                                     direct_change(request), WritePlace::kAtOffset, &took});
        }));
    tell_of_mode(request, to, took);
    (void)fuse_reply_write(request, copied);
    return {};
  });
}

void answer_lseek(fuse_req_t request, fuse_ino_t id, off_t offset, int whence) {
  serve(request, "lseek", id, nullptr, [&]() -> Status {
    const std::int64_t found = TRY(
        on_node(request, id, [&](auto& fs, auto& node) { return fs.lseek(node, offset, whence); }));
    (void)fuse_reply_lseek(request, found);
    return {};
  });
}

void on_lseek(fuse_req_t request, fuse_ino_t id, off_t offset, int whence,
              fuse_file_info* /*file*/) {
  if (!dispatcher(request).writeback) {
    answer_lseek(request, id, offset, whence);
    return;
  }
  // Where data is, only the kernel's dirty pages may know: they are written back first.
  serve(request, "lseek", id, nullptr, [&]() -> Status {
    dispatcher(request).flusher->after_writeback(
        id, [=] { answer_lseek(request, id, offset, whence); });
    return {};
  });
}

/// What FS_IOC_GETFLAGS gave, in the form of FS_IOC_FSGETXATTR (Linux: fileattr_fill_flags). The
/// project and extent sizes are left out.
fsxattr extended_flags(std::uint32_t flags) {
  constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, 6> kPairs = {{
      {FS_SYNC_FL, FS_XFLAG_SYNC},
      {FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE},
      {FS_APPEND_FL, FS_XFLAG_APPEND},
      {FS_NODUMP_FL, FS_XFLAG_NODUMP},
      {FS_NOATIME_FL, FS_XFLAG_NOATIME},
      {FS_PROJINHERIT_FL, FS_XFLAG_PROJINHERIT},
  }};
  fsxattr out{};
  for (const auto& [flag, extended] : kPairs) {
    out.fsx_xflags |= (flags & flag) != 0 ? extended : 0;
  }
  return out;
}

void on_ioctl(fuse_req_t request, fuse_ino_t id, unsigned command, void* /*argument*/,
              fuse_file_info* /*file*/, unsigned /*flags*/, const void* input,
              std::size_t input_size, std::size_t output_size) {
  serve(request, "ioctl", id, nullptr, [&]() -> Status {
    // The kernel's FUSE client sends chattr's calls with an int, whatever the ioctl number says.
    if (command == FS_IOC_GETFLAGS && output_size >= sizeof(std::uint32_t)) {
      const std::uint32_t flags =
          TRY(on_node(request, id, [](auto& fs, auto& node) { return fs.inode_flags(node); }));
      (void)fuse_reply_ioctl(request, 0, &flags, sizeof flags);
      return {};
    }
    // The kernel asks for it before each SETFLAGS, and gives up without an answer.
    if (command == FS_IOC_FSGETXATTR && output_size >= sizeof(fsxattr)) {
      const fsxattr answer = extended_flags(
          TRY(on_node(request, id, [](auto& fs, auto& node) { return fs.inode_flags(node); })));
      (void)fuse_reply_ioctl(request, 0, &answer, sizeof answer);
      return {};
    }
    if (command == FS_IOC_SETFLAGS && input_size >= sizeof(std::uint32_t)) {
      std::uint32_t flags = 0;
      std::memcpy(&flags, input, sizeof flags);
      if ((flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)) != 0) {
        return Errno{EOPNOTSUPP};  // the kernel would go on to cache writes that fail later
      }
      TRY(on_node(request, id,
                  [&](auto& fs, auto& node) { return fs.set_inode_flags(node, flags); }));
      (void)fuse_reply_ioctl(request, 0, nullptr, 0);
      return {};
    }
    return Errno{ENOTTY};
  });
}

fuse_lowlevel_ops make_callbacks() {
  fuse_lowlevel_ops table{};
  table.init = on_init;
  table.lookup = on_lookup;
  table.forget = on_forget;
  table.forget_multi = on_forget_multi;
  table.getattr = on_getattr;
  table.setattr = on_setattr;
  table.readlink = on_readlink;
  table.mknod = on_mknod;
  table.mkdir = on_mkdir;
  table.unlink = on_unlink;
  table.rmdir = on_rmdir;
  table.symlink = on_symlink;
  table.rename = on_rename;
  table.link = on_link;
  table.open = on_open;
  table.flush = on_flush;
  table.release = on_release;
  table.opendir = on_opendir;
  table.create = on_create;
  table.read = on_read;
  table.write = on_write;
  table.fsync = on_fsync;
  table.fsyncdir = on_fsyncdir;
  table.readdir = on_readdir;
  table.readdirplus = on_readdirplus;
  table.statfs = on_statfs;
  table.setxattr = on_setxattr;
  table.getxattr = on_getxattr;
  table.listxattr = on_listxattr;
  table.removexattr = on_removexattr;
  table.fallocate = on_fallocate;
  table.copy_file_range = on_copy_file_range;
  table.lseek = on_lseek;
  table.ioctl = on_ioctl;
  return table;
}

}  // namespace

const fuse_lowlevel_ops& callbacks() {
  static const fuse_lowlevel_ops table = make_callbacks();
  return table;
}

}  // namespace plyfs::fuse
