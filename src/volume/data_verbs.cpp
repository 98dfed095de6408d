// Data: read, write, allocate, seek, sync; and reading directories.
//
// A file is opened for writing only when it is written, and such a descriptor of an executable is
// not kept: nobody tells when users close a file, and a file that is open for writing cannot be
// executed on the host (ETXTBSY). Filesystems of other machines are opened and closed with their
// users (close_to_open.cpp).
#include "sys/dir_stream.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/owner_access.h"
#include "volume/tree.h"

namespace plyfs::volume {
namespace {

constexpr std::size_t kListingPiece = 32768;  // what the kernel asks for at once

}  // namespace

Result<sys::UniqueFd> VolumeTree::open_io(VolumeNode& node, sys::Access access) {
  if (!node.is_regular()) {
    return Errno{node.is_directory() ? EISDIR : EINVAL};
  }
  const sys::FdPin pin = TRY(handle(node));
  const sys::ObjectRef object{pin->borrow(), ""};
  if (options_.privileges.dac_override || !writable(node)) {
    return sys::open_file(object, access);
  }
  // Who opened the file before its mode shut the owner out may go on using it.
  return sys::with_owner_access(object, [&] { return sys::open_file(object, access); });
}

Result<sys::FdPin> VolumeTree::reader(VolumeNode& node) {
  for (const Slot slot : {kRead, kWrite}) {
    if (sys::FdPin cached = fds_.find({&node, slot})) {
      return cached;
    }
  }
  return fds_.insert({&node, kRead}, TRY(open_io(node, sys::Access::kRead)),
                     sys::FdCache::IfPresent::kKeep);
}

Result<sys::FdPin> VolumeTree::writer(VolumeNode& node) {
  TRY(writable(node));
  if (sys::FdPin cached = fds_.find({&node, kWrite})) {
    return cached;
  }
  sys::UniqueFd opened = TRY(open_io(node, sys::Access::kReadWrite));
  const FileStat stat = TRY(sys::stat_object({opened.borrow(), ""}));
  if ((stat.mode & kExecuteBits) != 0 && !is_close_to_open(node)) {
    return std::make_shared<const sys::UniqueFd>(std::move(opened));
  }
  return fds_.insert({&node, kWrite}, pin_writer(node, std::move(opened)),
                     sys::FdCache::IfPresent::kKeep);
}

Status VolumeTree::resize(VolumeNode& node, std::int64_t size_bytes) {
  if (is_close_to_open(node) && !fds_.find({&node, kWrite})) {
    // Perhaps truncate(2): no close follows.
    TRY(writable(node));
    sys::UniqueFd file = TRY(open_io(node, sys::Access::kReadWrite));
    TRY(sys::resize(file.borrow(), size_bytes));
    return sys::close_file(std::move(file));
  }
  const sys::FdPin file = TRY(writer(node));
  return sys::resize(file->borrow(), size_bytes);
}

Result<std::size_t> VolumeTree::read(VolumeNode& node, void* buffer, std::size_t size_bytes,
                                     std::int64_t offset) {
  if (sealed_ || node.made_up() != nullptr) {
    return std::size_t{0};
  }
  const sys::FdPin file = TRY(reader(node));
  return sys::read_at(file->borrow(), buffer, size_bytes, offset);
}

Result<sys::FdPin> VolumeTree::pages_of(VolumeNode& node) {
  if (sealed_ || node.made_up() != nullptr || is_close_to_open(node)) {
    return sys::FdPin{};  // other machines' filesystems have their own ways with pages
  }
  return reader(node);
}

/// Asked before the write: the write of a daemon without privileges takes the bits by itself.
Result<std::optional<mode_t>> VolumeTree::mode_to_leave(const RequestContext& context,
                                                        sys::ObjectRef object,
                                                        const WriteRequest& request) {
  if (request.privileged == PrivilegedWrite::kKeepSuid) {
    return std::optional<mode_t>{};
  }
  return mode_to_leave(context, object);
}

Status VolumeTree::leave_mode(sys::ObjectRef object, std::optional<mode_t> mode,
                              const WriteRequest& request) {
  if (!mode) {
    return drop_privileges(object);
  }
  if (request.took_privileges != nullptr) {
    *request.took_privileges = true;
  }
  return sys::change_mode(object, *mode);
}

Result<std::size_t> VolumeTree::write(const RequestContext& context, VolumeNode& node,
                                      const void* buffer, const WriteRequest& request) {
  const sys::FdPin file = TRY(writer(node));
  if (request.origin == WriteOrigin::kPageCache) {
    // Stored through a mapping. The kernel looks for an error only, not at how much was written.
    TRY(sys::write_all_at(file->borrow(), buffer, request.size_bytes, request.offset));
    TRY(drop_privileges({file->borrow(), ""}));
    return request.size_bytes;
  }
  const sys::ObjectRef object{file->borrow(), ""};
  const std::optional<mode_t> mode = TRY(mode_to_leave(context, object, request));
  // Others append too: only the host knows where the end is.
  const std::size_t written =
      request.place == WritePlace::kAppend
          ? TRY(sys::append(file->borrow(), buffer, request.size_bytes))
          : TRY(sys::write_at(file->borrow(), buffer, request.size_bytes, request.offset));
  TRY(leave_mode(object, mode, request));
  return written;
}

Status VolumeTree::fallocate(const RequestContext& context, VolumeNode& node, int mode,
                             const WriteRequest& request) {
  const sys::FdPin file = TRY(writer(node));
  const sys::ObjectRef object{file->borrow(), ""};
  const std::optional<mode_t> left = TRY(mode_to_leave(context, object, request));
  TRY(sys::allocate(file->borrow(), mode, request.offset,
                    static_cast<std::int64_t>(request.size_bytes)));
  return leave_mode(object, left, request);
}

Result<std::size_t> VolumeTree::copy_file_range(const RequestContext& context, VolumeNode& from,
                                                std::int64_t from_offset, VolumeNode& to,
                                                const WriteRequest& request) {
  const sys::FdPin source = TRY(reader(from));
  const sys::FdPin target = TRY(writer(to));
  const sys::ObjectRef object{target->borrow(), ""};
  const std::optional<mode_t> mode = TRY(mode_to_leave(context, object, request));
  const std::size_t copied = TRY(sys::copy_range(source->borrow(), from_offset, target->borrow(),
                                                 request.offset, request.size_bytes));
  TRY(leave_mode(object, mode, request));
  return copied;
}

Result<std::int64_t> VolumeTree::lseek(VolumeNode& node, std::int64_t offset, int whence) {
  const sys::FdPin file = TRY(reader(node));
  return sys::seek(file->borrow(), offset, whence);
}

Status VolumeTree::fsync(VolumeNode& node, SyncKind kind) {
  if (node.made_up() != nullptr) {
    return {};
  }
  // Some filesystems wait for what was written by this very descriptor only.
  const sys::FdPin written = fds_.find({&node, kWrite});
  const sys::FdPin file = written ? written : TRY(reader(node));
  TRY(kind == SyncKind::kData ? sys::sync_data(file->borrow()) : sys::sync_all(file->borrow()));
  return late_errors_.take(&node);
}

Result<sys::UniqueFd> VolumeTree::listing(VolumeNode& directory) {
  const sys::FdPin pin = TRY(handle(directory));
  return sys::open_listing({pin->borrow(), ""});
}

Status VolumeTree::fsyncdir(VolumeNode& node) {
  if (node.made_up() != nullptr) {
    return {};
  }
  const sys::UniqueFd directory = TRY(listing(node));
  return sys::sync_all(directory.borrow());
}

Status VolumeTree::readdir(VolumeNode& directory, std::uint64_t offset, Plus /*plus*/,
                           NameSink& sink) {
  const std::uint8_t directory_type = entry_type_of(kTypeDirectory);
  if (sealed_ || directory.made_up() != nullptr) {
    if (offset < 1 && !sink.add(".", shown_ino(directory), directory_type, 1)) {
      return {};
    }
    if (offset < 2) {
      (void)sink.add("..", shown_ino(directory), directory_type, 2);
    }
    return {};
  }
  sys::UniqueFd listed = listings_.take(directory, offset);
  if (!listed.valid()) {
    listed = TRY(listing(directory));
    if (offset != 0) {
      TRY(sys::begin_reading(listed.borrow()));
    }
  }
  const std::uint64_t above = volumes_[directory.volume()].parent_ino;
  const bool root = !nodes_.whereabouts(directory).parent;
  const dev_t dev = directory.key().dev;
  const std::uint64_t device = device_index(dev);
  std::uint64_t reached = offset;
  TRY(sys::read_directory_from(listed.borrow(), static_cast<std::int64_t>(offset), kListingPiece,
                               [&](const sys::RawEntry& entry) {
                                 const bool climbs = root && std::string_view{entry.name} == "..";
                                 const std::uint64_t ino =
                                     climbs ? above : composed_ino(device, dev, entry.ino);
                                 const auto next = static_cast<std::uint64_t>(entry.next);
                                 if (!sink.add(entry.name, ino, entry.type, next)) {
                                   return sys::Visit::kStop;
                                 }
                                 reached = next;
                                 return sys::Visit::kContinue;
                               }));
  if (reached != offset) {
    listings_.keep(directory, reached, std::move(listed));
  }
  return {};
}

}  // namespace plyfs::volume
