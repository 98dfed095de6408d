#include "fuse/serve.h"

#include <cstring>
#include <memory>

#include "base/log.h"
#include "base/remedy.h"
#include "fuse/backed_files.h"

namespace plyfs::fuse {
namespace {

/// Errors that say something about the machine rather than about the request.
bool is_remarkable(int error) {
  return is_of_filesystem(error) || error == EMFILE || error == ENFILE || error == ENOMEM ||
         error == EBADF;
}

/// Not initialised: pages that no reply needed are never touched.
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

}  // namespace

fuse_ino_t id_of(const Dispatcher& dispatcher, const node::Node& node) {
  return &node == &dispatcher.filesystem->root() ? FUSE_ROOT_ID : hidden_id(&node);
}

fuse_ino_t id_of(const Dispatcher& /*dispatcher*/, const volume::VolumeNode& node) {
  return hidden_id(&node) | kVolumeTag;
}

volume::VolumeNode* mount_point(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const volume::MountPoints* const points = dispatcher(request).mount_points;
  return points == nullptr ? nullptr : points->find(parent, name);
}

Status not_kept(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const volume::MountPoints* const points = dispatcher(request).mount_points;
  return points != nullptr && points->is_kept(parent, name) ? Status{Errno{EBUSY}} : Status{};
}

Status not_taken(fuse_req_t request, fuse_ino_t parent, const char* name) {
  return mount_point(request, parent, name) != nullptr ? Status{Errno{EEXIST}} : Status{};
}

Timeouts timeouts_of(const Dispatcher& dispatcher, const node::Node& node) {
  if (dispatcher.backed_files != nullptr &&
      dispatcher.backed_files->is_written(id_of(dispatcher, node))) {
    return {dispatcher.timeout_s,
            0};  // a mapping changes the times, and the kernel does not notice
  }
  return {dispatcher.timeout_s, dispatcher.timeout_s};
}

// In a volume a name is asked for each time. What a directory's entry says is believed for the walk
// that asked; of files even that would be too long: who has one open asks by no name.
Timeouts timeouts_of(const Dispatcher& dispatcher, const volume::VolumeNode& node) {
  if (node.made_up() != nullptr) {
    return {dispatcher.timeout_s, dispatcher.timeout_s};
  }
  return {0, node.is_directory() ? kOneTick_s : 0};
}

void report(fuse_req_t request, const char* verb, fuse_ino_t id, const char* name, int error) {
  // A write that the kernel has cached was told to have succeeded: what fails now is lost data.
  const bool remarkable = is_remarkable(error) || raw_request().from_page_cache;
  const auto level = remarkable ? log::Level::kWarning : log::Level::kTrace;
  if (!log::enabled(level)) {
    return;
  }
  std::string line = verb;
  line += ' ' + on_node(request, id, [](auto& fs, auto& node) { return fs.describe(node); });
  if (name != nullptr) {
    line += " \"" + log::printable(name) + '"';
  }
  log::write(level, line + ": " + std::strerror(error) +
                        remedy_for(error, is_volume(id) ? "the volume" : "the upper layer"));
}

void report(const char* verb, const char* what) {
  log::write(log::Level::kError, std::string{verb} + ": " + what);
}

char* thread_buffer(std::size_t size_bytes) {
  thread_local ReplyBuffer buffer;
  return buffer.at_least(size_bytes);
}

char* reply_buffer(std::size_t size_bytes) {
  const sys::FuseRing::Slot* const slot = reply_path().slot;
  return slot != nullptr && size_bytes <= slot->payload_bytes() ? slot->payload()
                                                                : thread_buffer(size_bytes);
}

}  // namespace plyfs::fuse
