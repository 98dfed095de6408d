#include "fuse/dispatch.h"

#include <linux/fs.h>

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "fuse/flusher.h"
#include "fuse/raw_request.h"
#include "fuse/reply.h"

namespace plyfs::fuse {
namespace {

using node::Node;
using ops::Entry;

constexpr std::size_t kMaxRequest = 1024 * 1024;

Dispatcher& dispatcher(fuse_req_t request) {
  return *static_cast<Dispatcher*>(fuse_req_userdata(request));
}

ops::FileSystem& filesystem(fuse_req_t request) { return *dispatcher(request).filesystem; }

Node& node_of(fuse_req_t request, fuse_ino_t id) {
  return id == FUSE_ROOT_ID ? filesystem(request).root() : *reinterpret_cast<Node*>(id);
}

fuse_ino_t id_of(fuse_req_t request, Node& node) {
  return &node == &filesystem(request).root() ? FUSE_ROOT_ID : reinterpret_cast<fuse_ino_t>(&node);
}

/// Errors that say something about the machine rather than about the request.
bool is_remarkable(int error) {
  return error == EIO || error == ESTALE || error == EMFILE || error == ENFILE || error == ENOMEM ||
         error == ENOSPC || error == EDQUOT || error == EBADF || error == EUCLEAN;
}

void report(fuse_req_t request, const char* verb, fuse_ino_t id, const char* name, int error) {
  const auto level = is_remarkable(error) ? log::Level::kWarning : log::Level::kTrace;
  if (!log::enabled(level)) {
    return;
  }
  std::string line = verb;
  line += ' ' + filesystem(request).describe(node_of(request, id));
  if (name != nullptr) {
    line += " \"" + log::printable(name) + '"';
  }
  log::write(level, line + ": " + std::strerror(error));
}

/// The fence: what a verb returns or throws becomes exactly one reply.
template <typename Verb>
void serve(fuse_req_t request, const char* name_of_verb, fuse_ino_t id, const char* name,
           Verb verb) {
  int error = EIO;
  try {
    const Status done = verb();
    if (done) {
      return;  // the verb replied
    }
    error = done.error().value();
    report(request, name_of_verb, id, name, error);
  } catch (const std::bad_alloc&) {
    error = ENOMEM;
  } catch (const std::exception& failure) {
    log::write(log::Level::kError, std::string{name_of_verb} + ": " + failure.what());
  }
  (void)fuse_reply_err(request, error);
}

Status reply_entry(fuse_req_t request, Entry entry) {
  const fuse_entry_param param =
      to_entry(entry, id_of(request, *entry.node), dispatcher(request).timeout_s);
  Node* node = entry.node.get();
  ops::FileSystem& fs = filesystem(request);
  // The kernel's from here: after the reply it may be forgotten by another thread at once.
  (void)entry.node.give_to_kernel();
  if (fuse_reply_entry(request, &param) != 0) {
    fs.forget(*node, 1);
  }
  return {};
}

Status reply_done(fuse_req_t request) {
  (void)fuse_reply_err(request, 0);
  return {};
}

Status reply_attr(fuse_req_t request, const FileStat& stat) {
  const struct stat raw = to_stat(stat);
  (void)fuse_reply_attr(request, &raw, dispatcher(request).timeout_s);
  return {};
}

ops::PrivilegedWrite privileged_write() {
  return raw_request().kill_suid_sgid ? ops::PrivilegedWrite::kKillSuid
                                      : ops::PrivilegedWrite::kKeepSuid;
}

/// FALLOCATE and COPY_FILE_RANGE carry no flag: only root keeps the bits.
ops::PrivilegedWrite privileged_caller(fuse_req_t request) {
  return fuse_req_ctx(request)->uid == 0 ? ops::PrivilegedWrite::kKeepSuid
                                         : ops::PrivilegedWrite::kKillSuid;
}

/// One large buffer per thread, for replies. Not initialised: pages that no reply needed are never
/// touched.
class ReplyBuffer {
 public:
  char* at_least(std::size_t size_bytes) {
    if (size_ < size_bytes) {
      bytes_ = std::make_unique_for_overwrite<char[]>(size_bytes);
      size_ = size_bytes;
    }
    return bytes_.get();
  }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
};

char* thread_buffer(std::size_t size_bytes) {
  thread_local ReplyBuffer buffer;
  return buffer.at_least(size_bytes);
}

void on_init(void* user_data, fuse_conn_info* connection) {
  const auto& dispatcher = *static_cast<Dispatcher*>(user_data);
  unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                    FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS |
                    FUSE_CAP_DONT_MASK | FUSE_CAP_IOCTL_DIR;
  if (dispatcher.writeback) {
    wanted |= FUSE_CAP_WRITEBACK_CACHE;
  }
  if (dispatcher.acl) {
    wanted |= FUSE_CAP_POSIX_ACL;
  }
  // Not wanted, though libfuse has them on: ATOMIC_O_TRUNC loses O_TRUNC without OPEN messages;
  // splice is slower at 1 MiB; AUTO_INVAL_DATA throws away pages although we are the only writer.
  connection->want = connection->capable & wanted;
  connection->max_write = kMaxRequest;
  connection->max_readahead = kMaxRequest;
  connection->time_gran = 1;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  serve(request, "lookup", parent, name, [&]() -> Status {
    auto entry = filesystem(request).lookup(node_of(request, parent), name);
    if (entry) {
      return reply_entry(request, std::move(*entry));
    }
    if (entry.error() != ENOENT) {
      return entry.error();
    }
    fuse_entry_param absent{};  // inode 0: the kernel remembers that there is nothing
    absent.entry_timeout = dispatcher(request).timeout_s;
    (void)fuse_reply_entry(request, &absent);
    return {};
  });
}

void on_forget(fuse_req_t request, fuse_ino_t id, std::uint64_t count) {
  if (id != FUSE_ROOT_ID) {
    filesystem(request).forget(node_of(request, id), count);
  }
  fuse_reply_none(request);
}

void on_forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets) {
  for (std::size_t i = 0; i < count; ++i) {
    if (forgets[i].ino != FUSE_ROOT_ID) {
      filesystem(request).forget(node_of(request, forgets[i].ino), forgets[i].nlookup);
    }
  }
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t id, fuse_file_info* /*file*/) {
  serve(request, "getattr", id, nullptr, [&]() -> Status {
    return reply_attr(request, TRY(filesystem(request).getattr(node_of(request, id))));
  });
}

void on_setattr(fuse_req_t request, fuse_ino_t id, struct stat* attributes, int to_set,
                fuse_file_info* /*file*/) {
  serve(request, "setattr", id, nullptr, [&]() -> Status {
    AttrChange change = to_change(*attributes, to_set);
    change.kill_suid_sgid = raw_request().kill_suid_sgid;
    return reply_attr(request, TRY(filesystem(request).setattr(context_of(request),
                                                               node_of(request, id), change)));
  });
}

void on_readlink(fuse_req_t request, fuse_ino_t id) {
  serve(request, "readlink", id, nullptr, [&]() -> Status {
    const std::string target = TRY(filesystem(request).readlink(node_of(request, id)));
    (void)fuse_reply_readlink(request, target.c_str());
    return {};
  });
}

void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  serve(request, "mknod", parent, name, [&]() -> Status {
    return reply_entry(
        request, TRY(filesystem(request).mknod(context_of(request), node_of(request, parent), name,
                                               mode, device)));
  });
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  serve(request, "mkdir", parent, name, [&]() -> Status {
    return reply_entry(request, TRY(filesystem(request).mkdir(
                                    context_of(request), node_of(request, parent), name, mode)));
  });
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  serve(request, "unlink", parent, name, [&]() -> Status {
    TRY(filesystem(request).unlink(node_of(request, parent), name));
    return reply_done(request);
  });
}

void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  serve(request, "rmdir", parent, name, [&]() -> Status {
    TRY(filesystem(request).rmdir(node_of(request, parent), name));
    return reply_done(request);
  });
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  serve(request, "symlink", parent, name, [&]() -> Status {
    return reply_entry(request, TRY(filesystem(request).symlink(context_of(request), target,
                                                                node_of(request, parent), name)));
  });
}

void on_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  serve(request, "rename", parent, name, [&]() -> Status {
    TRY(filesystem(request).rename(node_of(request, parent), name, node_of(request, new_parent),
                                   new_name, flags));
    return reply_done(request);
  });
}

void on_link(fuse_req_t request, fuse_ino_t id, fuse_ino_t new_parent, const char* new_name) {
  serve(request, "link", new_parent, new_name, [&]() -> Status {
    return reply_entry(request, TRY(filesystem(request).link(
                                    node_of(request, id), node_of(request, new_parent), new_name)));
  });
}

// ENOSYS once: from then on the kernel opens without a message (and sends no RELEASE).
void on_open(fuse_req_t request, fuse_ino_t /*id*/, fuse_file_info* /*file*/) {
  (void)fuse_reply_err(request, ENOSYS);
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* file) {
  serve(request, "create", parent, name, [&]() -> Status {
    Node& directory = node_of(request, parent);
    ops::FileSystem& fs = filesystem(request);
    Entry entry = raw_request().unnamed
                      ? TRY(fs.create_unnamed(context_of(request), directory, mode))
                      : TRY(fs.create(context_of(request), directory, name, mode));
    const fuse_entry_param param =
        to_entry(entry, id_of(request, *entry.node), dispatcher(request).timeout_s);
    file->fh = 0;
    file->keep_cache = 1;
    Node* node = entry.node.give_to_kernel();
    if (fuse_reply_create(request, &param, file) != 0) {
      fs.forget(*node, 1);
    }
    return {};
  });
}

void on_read(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
             fuse_file_info* /*file*/) {
  serve(request, "read", id, nullptr, [&]() -> Status {
    char* const buffer = thread_buffer(size);
    const std::size_t got =
        TRY(filesystem(request).read(node_of(request, id), buffer, size, offset));
    (void)fuse_reply_buf(request, buffer, got);
    return {};
  });
}

void on_write(fuse_req_t request, fuse_ino_t id, const char* data, std::size_t size, off_t offset,
              fuse_file_info* /*file*/) {
  serve(request, "write", id, nullptr, [&]() -> Status {
    const auto origin =
        raw_request().from_page_cache ? ops::WriteOrigin::kPageCache : ops::WriteOrigin::kCaller;
    const std::size_t written =
        TRY(filesystem(request).write(context_of(request), node_of(request, id), data,
                                      {offset, size, privileged_write(), origin}));
    (void)fuse_reply_write(request, written);
    return {};
  });
}

void on_fsync(fuse_req_t request, fuse_ino_t id, int data_only, fuse_file_info* /*file*/) {
  serve(request, "fsync", id, nullptr, [&]() -> Status {
    TRY(filesystem(request).fsync(node_of(request, id),
                                  data_only != 0 ? ops::SyncKind::kData : ops::SyncKind::kAll));
    return reply_done(request);
  });
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t id, int /*data_only*/, fuse_file_info* /*file*/) {
  serve(request, "fsyncdir", id, nullptr, [&]() -> Status {
    TRY(filesystem(request).fsyncdir(node_of(request, id)));
    return reply_done(request);
  });
}

/// Packs entries into one reply.
class ReplySink final : public ops::DirectorySink {
 public:
  ReplySink(fuse_req_t request, char* buffer, std::size_t size)
      : request_(request), buffer_(buffer), size_(size) {}
  [[nodiscard]] std::size_t used() const { return used_; }

  bool add(const char* name, std::uint64_t ino, std::uint8_t entry_type,
           std::uint64_t offset) override {
    struct stat stat {};
    stat.st_ino = ino;
    stat.st_mode = mode_of_entry_type(entry_type);
    if (plus_) {
      // "." and "..": no lookup is counted for inode 0.
      fuse_entry_param param{};
      param.attr = stat;
      return advance(fuse_add_direntry_plus(request_, buffer_ + used_, size_ - used_, name, &param,
                                            static_cast<off_t>(offset)));
    }
    return advance(fuse_add_direntry(request_, buffer_ + used_, size_ - used_, name, &stat,
                                     static_cast<off_t>(offset)));
  }

  bool add_plus(const char* name, Entry* entry, std::uint64_t ino, std::uint8_t entry_type,
                std::uint64_t offset) override {
    if (entry == nullptr) {
      return add(name, ino, entry_type, offset);
    }
    const fuse_entry_param param =
        to_entry(*entry, id_of(request_, *entry->node), dispatcher(request_).timeout_s);
    if (!advance(fuse_add_direntry_plus(request_, buffer_ + used_, size_ - used_, name, &param,
                                        static_cast<off_t>(offset)))) {
      return false;
    }
    given_.push_back(entry->node.give_to_kernel());
    return true;
  }

  void use_plus() { plus_ = true; }
  /// The reply did not reach the kernel: it counts none of the lookups.
  void take_back() {
    for (Node* node : given_) {
      filesystem(request_).forget(*node, 1);
    }
  }

 private:
  bool advance(std::size_t needed) {
    if (needed > size_ - used_) {
      return false;
    }
    used_ += needed;
    return true;
  }

  fuse_req_t request_;
  char* buffer_;
  const std::size_t size_;
  std::size_t used_ = 0;
  bool plus_ = false;
  std::vector<Node*> given_;
};

void read_directory(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                    ops::Plus plus) {
  serve(request, "readdir", id, nullptr, [&]() -> Status {
    char* const buffer = thread_buffer(size);
    ReplySink sink{request, buffer, size};
    if (plus == ops::Plus::kYes) {
      sink.use_plus();
    }
    ops::FileSystem& fs = filesystem(request);
    const Status read =
        fs.readdir(node_of(request, id), static_cast<std::uint64_t>(offset), plus, sink);
    if (!read && sink.used() == 0) {
      return read;
    }
    if (fuse_reply_buf(request, buffer, sink.used()) != 0) {
      sink.take_back();
    }
    return {};
  });
}

void on_readdir(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                fuse_file_info* /*file*/) {
  read_directory(request, id, size, offset, ops::Plus::kNo);
}

void on_readdirplus(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                    fuse_file_info* /*file*/) {
  read_directory(request, id, size, offset, ops::Plus::kYes);
}

void on_statfs(fuse_req_t request, fuse_ino_t id) {
  serve(request, "statfs", id, nullptr, [&]() -> Status {
    const struct statvfs raw = to_statvfs(TRY(filesystem(request).statfs()));
    (void)fuse_reply_statfs(request, &raw);
    return {};
  });
}

void answer_setxattr(fuse_req_t request, fuse_ino_t id, const char* name, std::string_view value,
                     int flags) {
  serve(request, "setxattr", id, name, [&]() -> Status {
    TRY(filesystem(request).setxattr(node_of(request, id), name, value, flags));
    return reply_done(request);
  });
}

void on_setxattr(fuse_req_t request, fuse_ino_t id, const char* name, const char* value,
                 std::size_t size, int flags) {
  if (!dispatcher(request).writeback || std::strcmp(name, "security.capability") != 0) {
    answer_setxattr(request, id, name, {value, size}, flags);
    return;
  }
  // Data that was written before and is still cached would take the new capability away again.
  dispatcher(request).flusher->after_writeback(
      id,
      [request, id, flags, kept_name = std::string{name}, kept_value = std::string{value, size}] {
        answer_setxattr(request, id, kept_name.c_str(), kept_value, flags);
      });
}

void on_getxattr(fuse_req_t request, fuse_ino_t id, const char* name, std::size_t size) {
  serve(request, "getxattr", id, name, [&]() -> Status {
    char* const buffer = thread_buffer(size);
    const std::size_t got =
        TRY(filesystem(request).getxattr(node_of(request, id), name, buffer, size));
    (void)(size == 0 ? fuse_reply_xattr(request, got) : fuse_reply_buf(request, buffer, got));
    return {};
  });
}

void on_listxattr(fuse_req_t request, fuse_ino_t id, std::size_t size) {
  serve(request, "listxattr", id, nullptr, [&]() -> Status {
    const std::string names =
        TRY(filesystem(request).listxattr(context_of(request), node_of(request, id)));
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
    TRY(filesystem(request).removexattr(node_of(request, id), name));
    return reply_done(request);
  });
}

void on_fallocate(fuse_req_t request, fuse_ino_t id, int mode, off_t offset, off_t length,
                  fuse_file_info* /*file*/) {
  serve(request, "fallocate", id, nullptr, [&]() -> Status {
    TRY(filesystem(request).fallocate(
        context_of(request), node_of(request, id), mode,
        {offset, static_cast<std::size_t>(length), privileged_caller(request)}));
    return reply_done(request);
  });
}

void on_copy_file_range(fuse_req_t request, fuse_ino_t from, off_t from_offset,
                        fuse_file_info* /*from_file*/, fuse_ino_t to, off_t to_offset,
                        fuse_file_info* /*to_file*/, std::size_t size, int /*flags*/) {
  serve(request, "copy_file_range", to, nullptr, [&]() -> Status {
    const std::size_t copied = TRY(filesystem(request).copy_file_range(
        context_of(request), node_of(request, from), from_offset, node_of(request, to),
        {to_offset, size, privileged_caller(request)}));
    (void)fuse_reply_write(request, copied);
    return {};
  });
}

void answer_lseek(fuse_req_t request, fuse_ino_t id, off_t offset, int whence) {
  serve(request, "lseek", id, nullptr, [&]() -> Status {
    const std::int64_t found = TRY(filesystem(request).lseek(node_of(request, id), offset, whence));
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
  dispatcher(request).flusher->after_writeback(id,
                                               [=] { answer_lseek(request, id, offset, whence); });
}

void on_ioctl(fuse_req_t request, fuse_ino_t id, unsigned command, void* /*argument*/,
              fuse_file_info* /*file*/, unsigned /*flags*/, const void* input,
              std::size_t input_size, std::size_t output_size) {
  serve(request, "ioctl", id, nullptr, [&]() -> Status {
    ops::FileSystem& fs = filesystem(request);
    // The kernel's FUSE client sends chattr's calls with an int, whatever the ioctl number says.
    if (command == FS_IOC_GETFLAGS && output_size >= sizeof(std::uint32_t)) {
      const std::uint32_t flags = TRY(fs.inode_flags(node_of(request, id)));
      (void)fuse_reply_ioctl(request, 0, &flags, sizeof flags);
      return {};
    }
    if (command == FS_IOC_SETFLAGS && input_size >= sizeof(std::uint32_t)) {
      std::uint32_t flags = 0;
      std::memcpy(&flags, input, sizeof flags);
      TRY(fs.set_inode_flags(node_of(request, id), flags));
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
  table.opendir = on_open;
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
