// Data: read, write, allocate, seek, sync. Descriptors come from a bounded cache; none is held per
// inode or per open (the kernel sends no OPEN).
#include "ops/filesystem.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::ops {

using node::Node;

namespace {

// Slots of a node in the I/O cache. A descriptor of the lower file can then never be taken for one
// of the upper, whatever a slow reader puts into the cache after a copy-up.
constexpr std::uint32_t kBelow = 0;
constexpr std::uint32_t kUpperRead = 1;
constexpr std::uint32_t kUpperWrite = 2;

bool has_own_data(const Node& node) { return node.in_upper() && !node.metacopy.load(); }

}  // namespace

void FileSystem::drop_io(Node& node) {
  for (const std::uint32_t slot : {kBelow, kUpperRead, kUpperWrite}) {
    (void)io_.erase({&node, slot});
  }
}

Result<sys::UniqueFd> FileSystem::open_upper(Node& node, sys::Access access) {
  Located located{*this};
  return open_object(TRY(located.find(node)), access);
}

/// A file of the upper (or, in a read-only mount, of any) layer.
Result<sys::UniqueFd> FileSystem::open_object(sys::ObjectRef object, sys::Access access) {
  return read_only() ? sys::open_file(object, access) : f_.writer->open_file(object, access);
}

/// Component by component: no link is followed.
Result<sys::UniqueFd> FileSystem::open_at_path(const merge::DataLocation& data) {
  const std::vector<std::string> components = TRY(merge::split_absolute('/' + data.path));
  sys::UniqueFd dir = TRY(sys::duplicate(f_.stack[data.layer].root.borrow()));
  for (std::size_t i = 0; i + 1 < components.size(); ++i) {
    dir = TRY(sys::open_directory_at(dir.borrow(), components[i].c_str()));
  }
  return sys::open_file_quietly({dir.borrow(), components.back().c_str()},
                                f_.stack[data.layer].quiet.get());
}

/// The data of a lower file, or of a metadata-only copy.
Result<sys::UniqueFd> FileSystem::open_below(Node& node) {
  // The lock that Located holds decides: a copy-up under way is either seen whole or not at all.
  Located located{*this};
  const sys::ObjectRef object = TRY(located.find(node));
  const auto data = node.metacopy.load() ? table_.extra_of(node).data : std::nullopt;
  return data ? open_at_path(*data)
              : sys::open_file_quietly(object, f_.stack[node.layer()].quiet.get());
}

sys::FdPin FileSystem::keep_below(Node& node, sys::UniqueFd opened) {
  node.has_io.store(true);
  return io_.insert({&node, kBelow}, std::move(opened), sys::FdCache::IfPresent::kKeep);
}

Result<sys::FdPin> FileSystem::open_data(Node& node) {
  sys::FdPin cached = io_.find({&node, kBelow});
  return cached ? std::move(cached) : keep_below(node, TRY(open_below(node)));
}

Result<sys::FdPin> FileSystem::open_io(Node& node, sys::Access access) {
  if (!has_own_data(node)) {
    return open_data(node);
  }
  if (sys::FdPin cached = io_.find({&node, kUpperWrite})) {
    return cached;
  }
  if (access == sys::Access::kRead) {
    if (sys::FdPin cached = io_.find({&node, kUpperRead})) {
      return cached;
    }
  }
  // One descriptor for both directions where that is allowed.
  auto opened = open_upper(node, f_.engine ? sys::Access::kReadWrite : sys::Access::kRead);
  std::uint32_t slot = kUpperWrite;
  if (!opened && access == sys::Access::kRead) {
    opened = open_upper(node, sys::Access::kRead);
    slot = kUpperRead;
  }
  sys::UniqueFd file = TRY(std::move(opened));
  node.has_io.store(true);
  return io_.insert({&node, slot}, std::move(file), sys::FdCache::IfPresent::kKeep);
}

Result<sys::FdPin> FileSystem::open_for_kernel(Node& node, sys::Access access) {
  if (access == sys::Access::kReadWrite) {
    TRY(ensure_upper(node, Want::kData));
  } else if (!has_own_data(node)) {
    return sys::FdPin{};
  }
  sys::FdPin file = TRY(open_io(node, access));
  const FileStat stat = TRY(sys::stat_object({file->borrow(), ""}));
  return (stat.mode & (kSetUid | kSetGid)) == 0 ? std::move(file) : sys::FdPin{};
}

Result<std::size_t> FileSystem::read(Node& node, void* buffer, std::size_t size_bytes,
                                     std::int64_t offset) {
  if (offset == 0 && !has_own_data(node)) {
    if (const sys::FdPin cached = io_.find({&node, kBelow})) {
      return sys::read_at(cached->borrow(), buffer, size_bytes, offset);
    }
    // A small file comes whole, and the kernel keeps it: the descriptor is not needed again.
    sys::UniqueFd opened = TRY(open_below(node));
    const std::size_t got = TRY(sys::read_at(opened.borrow(), buffer, size_bytes, offset));
    if (got == size_bytes) {
      (void)keep_below(node, std::move(opened));
    }
    return got;
  }
  const sys::FdPin file = TRY(open_io(node, sys::Access::kRead));
  return sys::read_at(file->borrow(), buffer, size_bytes, offset);
}

/// Before the write, as in the kernel (file_remove_privs()): a write that is done cannot fail any
/// more because of bits that should be gone.
Status FileSystem::take_privileges(const RequestContext& context, sys::ObjectRef object,
                                   const WriteRequest& request) {
  if (request.privileged == PrivilegedWrite::kKeepSuid) {
    return drop_privileges(object);
  }
  const std::optional<mode_t> mode = TRY(mode_to_leave(context, object));
  if (!mode) {
    return drop_privileges(object);
  }
  if (request.took_privileges != nullptr) {
    *request.took_privileges = true;
  }
  return f_.writer->change_mode(object, *mode);
}

Result<std::size_t> FileSystem::write(const RequestContext& context, Node& node, const void* buffer,
                                      const WriteRequest& request) {
  TRY(ensure_upper(node, Want::kData));
  const sys::FdPin file = TRY(open_io(node, sys::Access::kReadWrite));
  const sys::ObjectRef object{file->borrow(), ""};
  if (request.origin == WriteOrigin::kCaller) {
    TRY(take_privileges(context, object, request));
    return f_.writer->write_at(file->borrow(), buffer, request.size_bytes, request.offset);
  }
  // The times of cached writes come by SETATTR, which may overtake the data: the write itself must
  // not move them, nor take suid bits that were set since (what writing takes, the kernel has
  // taken when it was cached). The lock keeps such a SETATTR from falling in between.
  const node::CopyUpLock lock{locks_, node};
  const FileStat before = TRY(sys::stat_object(object));
  // The kernel looks for an error only, and drops what a short answer leaves out.
  const Status written =
      f_.writer->write_all_at(file->borrow(), buffer, request.size_bytes, request.offset);
  TRY(written);
  // The data is there: nothing below may make the kernel believe that it is lost.
  Status kept;
  if ((before.mode & (kSetUid | kSetGid)) != 0) {
    const mode_t left = f_.no_privileges ? without_privileges(before.mode) : before.mode;
    kept = f_.writer->change_mode(object, left & kPermissionMask);
  }
  put_back_mtime(node, object, before);
  if (!kept) {
    layer::log_clean_up("putting back the mode of " + describe(node), kept.error());
  }
  return request.size_bytes;
}

/// A `change` of a file's data that leaves mtime alone where the kernel keeps that itself. It sends
/// a SETATTR only if its mtime moved, and that has the steps of its clock: ours would stay ahead.
template <typename Change>
std::invoke_result_t<Change> FileSystem::keeping_mtime(Node& node, sys::ObjectRef object,
                                                       WriteOrigin origin, Change change) {
  if (origin == WriteOrigin::kCaller) {
    return change();
  }
  const node::CopyUpLock lock{locks_, node};
  const FileStat before = TRY(sys::stat_object(object));
  auto changed = change();
  if (changed) {
    put_back_mtime(node, object, before);
  }
  return changed;
}

void FileSystem::put_back_mtime(Node& node, sys::ObjectRef object, const FileStat& before) {
  const Status done = f_.writer->change_times(object, {}, {TimeChange::Kind::kValue, before.mtime});
  if (!done) {
    layer::log_clean_up("putting back the time of " + describe(node), done.error());
  }
}

Status FileSystem::fallocate(const RequestContext& context, Node& node, int mode,
                             const WriteRequest& request) {
  TRY(ensure_upper(node, Want::kData));
  const sys::FdPin file = TRY(open_io(node, sys::Access::kReadWrite));
  const sys::ObjectRef object{file->borrow(), ""};
  TRY(take_privileges(context, object, request));
  return keeping_mtime(node, object, request.origin, [&] {
    return f_.writer->allocate(file->borrow(), mode, request.offset,
                               static_cast<std::int64_t>(request.size_bytes));
  });
}

Result<std::size_t> FileSystem::copy_file_range(const RequestContext& context, Node& from,
                                                std::int64_t from_offset, Node& to,
                                                const WriteRequest& request) {
  TRY(ensure_upper(to, Want::kData));
  const sys::FdPin source = TRY(open_io(from, sys::Access::kRead));
  const sys::FdPin target = TRY(open_io(to, sys::Access::kReadWrite));
  const sys::ObjectRef object{target->borrow(), ""};
  TRY(take_privileges(context, object, request));
  return keeping_mtime(to, object, request.origin, [&] {
    return f_.writer->copy_range(source->borrow(), from_offset, target->borrow(), request.offset,
                                 request.size_bytes);
  });
}

Result<std::int64_t> FileSystem::lseek(Node& node, std::int64_t offset, int whence) {
  const sys::FdPin file = TRY(open_io(node, sys::Access::kRead));
  return sys::seek(file->borrow(), offset, whence);
}

Status FileSystem::fsync(Node& node, SyncKind kind) {
  if (!node.in_upper() || never_syncs()) {
    return {};
  }
  sys::FdPin file;
  if (node.metacopy.load()) {
    file = std::make_shared<const sys::UniqueFd>(TRY(open_upper(node, sys::Access::kRead)));
  } else {
    file = TRY(open_io(node, sys::Access::kRead));
  }
  return kind == SyncKind::kData ? sys::sync_data(file->borrow()) : sys::sync_all(file->borrow());
}

Status FileSystem::fsyncdir(Node& node) {
  if (!node.in_upper() || never_syncs()) {
    return {};
  }
  Located located{*this};
  const sys::UniqueFd directory = TRY(sys::open_listing(TRY(located.find(node))));
  return sys::sync_all(directory.borrow());
}

Result<std::uint32_t> FileSystem::inode_flags(Node& node) {
  if (node.is_directory()) {
    Located located{*this};
    const sys::UniqueFd directory = TRY(sys::open_listing(TRY(located.find(node))));
    return sys::inode_flags(directory.borrow());
  }
  if (!node.is_regular()) {
    return Errno{ENOTTY};
  }
  const sys::FdPin file = TRY(open_io(node, sys::Access::kRead));
  return sys::inode_flags(file->borrow());
}

Status FileSystem::set_inode_flags(Node& node, std::uint32_t flags) {
  if (!node.is_directory() && !node.is_regular()) {
    return Errno{ENOTTY};
  }
  TRY(ensure_upper(node, Want::kData));
  if (node.is_directory()) {
    Located located{*this};
    const sys::UniqueFd directory = TRY(sys::open_listing(TRY(located.find(node))));
    return f_.writer->set_inode_flags(directory.borrow(), flags);
  }
  const sys::FdPin file = TRY(open_io(node, sys::Access::kReadWrite));
  return f_.writer->set_inode_flags(file->borrow(), flags);
}

Status FileSystem::start() {
  if (f_.engine && f_.engine->policy().sync == SyncPolicy::kVolatile) {
    return f_.workdir->set_volatile();
  }
  return {};
}

void FileSystem::shut_down() {
  if (f_.engine && f_.engine->policy().sync == SyncPolicy::kVolatile) {
    f_.workdir->clear_volatile();
  }
}

}  // namespace plyfs::ops
