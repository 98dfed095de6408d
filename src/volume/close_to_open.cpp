// Volumes on filesystems that keep data back until somebody closes the file, and look for news when
// somebody opens it: those of other machines. There the open and close of users become ours.
//
// A descriptor for writing lives from OPEN or the first write to the next FLUSH. Whoever closes it,
// the cache or the last of several threads, keeps the error for the FLUSH or fsync that follows.
#include <utility>

#include "sys/file_io.h"
#include "sys/open.h"
#include "volume/tree.h"

namespace plyfs::volume {

sys::FdPin VolumeTree::pin_writer(const VolumeNode& node, sys::UniqueFd fd) {
  if (!is_close_to_open(node)) {
    return std::make_shared<const sys::UniqueFd>(std::move(fd));
  }
  const auto close = [this, known = &node](sys::UniqueFd* last) {
    const std::unique_ptr<sys::UniqueFd> owner{last};
    if (const Status closed = sys::close_file(std::move(*last)); !closed) {
      late_errors_.keep(known, closed.error());
    }
  };
  return std::shared_ptr<sys::UniqueFd>(new sys::UniqueFd{std::move(fd)}, close);
}

/// The cached descriptor for writing, no longer in the cache; null when there is none.
sys::FdPin VolumeTree::give_up_writer(VolumeNode& node) {
  const sys::FdPin writer = fds_.find({&node, kWrite});
  if (writer && !fds_.find({&node, kHandle})) {
    // Something must go on holding the inode.
    if (auto handle = sys::reopen_handle(writer->borrow())) {
      (void)fds_.insert({&node, kHandle}, std::move(*handle), sys::FdCache::IfPresent::kKeep);
    }
  }
  return writer ? fds_.erase({&node, kWrite}) : nullptr;
}

Status VolumeTree::open(VolumeNode& node, sys::Access access) {
  if (!is_close_to_open(node) || !node.is_regular()) {
    return {};
  }
  sys::UniqueFd opened = TRY(open_io(node, access));
  if (access == sys::Access::kReadWrite) {
    (void)fds_.insert({&node, kWrite}, pin_writer(node, std::move(opened)),
                      sys::FdCache::IfPresent::kKeep);
  } else {
    (void)fds_.insert({&node, kRead}, std::move(opened), sys::FdCache::IfPresent::kReplace);
  }
  return {};
}

Status VolumeTree::flush(VolumeNode& node) {
  if (!is_close_to_open(node)) {
    return {};
  }
  sys::FdPin writer = give_up_writer(node);
  Status sent;
  if (writer.use_count() > 1) {
    sent = sys::flush(writer->borrow());  // somebody writes just now, and closes it later
  }
  writer.reset();
  const Status late = late_errors_.take(&node);
  return sent ? late : sent;
}

void VolumeTree::closed(VolumeNode& node) {
  if (is_close_to_open(node)) {
    (void)give_up_writer(node);
  }
}

}  // namespace plyfs::volume
