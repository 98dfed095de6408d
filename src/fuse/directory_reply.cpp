// readdir and readdirplus: entries packed into one reply, mount points among them.
#include <vector>

#include "fuse/serve.h"

namespace plyfs::fuse {
namespace {

using ops::Entry;

// Offsets of mount points, which come after all that the directory itself has. Other offsets are
// hashes or the host's own; that one of them falls in here has no practical probability.
constexpr std::uint64_t kMountPointOffset = 0x7fff0000;

class ReplySink final : public ops::DirectorySink {
 public:
  ReplySink(fuse_req_t request, fuse_ino_t directory, char* buffer, std::size_t size)
      : request_(request),
        directory_(directory),
        points_(dispatcher(request).mount_points != nullptr
                    ? dispatcher(request).mount_points->in(directory)
                    : nullptr),
        buffer_(buffer),
        size_(size) {}
  [[nodiscard]] std::size_t used() const { return used_; }

  bool add(const char* name, std::uint64_t ino, std::uint8_t entry_type,
           std::uint64_t offset) override {
    return is_hidden(name) || put(name, ino, entry_type, offset);
  }

  bool add_plus(const char* name, Entry* entry, std::uint64_t ino, std::uint8_t entry_type,
                std::uint64_t offset) override {
    if (entry == nullptr || is_hidden(name)) {
      return add(name, ino, entry_type, offset);
    }
    const fuse_entry_param param = param_of(dispatcher(request_), *entry);
    if (!advance(fuse_add_direntry_plus(request_, buffer_ + used_, size_ - used_, name, &param,
                                        static_cast<off_t>(offset)))) {
      return false;
    }
    given_.push_back(entry->node.give_to_kernel());
    return true;
  }

  void use_plus() { plus_ = true; }

  /// Where a directory's own entries end, its mount points begin.
  [[nodiscard]] bool is_among_mount_points(std::uint64_t offset) const {
    return points_ != nullptr && offset > kMountPointOffset &&
           offset <= kMountPointOffset + points_->size();
  }
  void add_mount_points(std::uint64_t offset) {
    if (points_ == nullptr || full_) {
      return;
    }
    std::size_t next = is_among_mount_points(offset) ? offset - kMountPointOffset : 0;
    for (; next < points_->size(); ++next) {
      const volume::MountPoints::Entry& point = (*points_)[next];
      if (point.root != nullptr &&
          !put(point.name.c_str(), volumes(request_).shown_ino(*point.root),
               point.root->entry_type(), kMountPointOffset + next + 1)) {
        return;
      }
    }
  }

  /// The reply did not reach the kernel: it counts none of the lookups.
  void take_back() {
    for (node::Node* node : given_) {
      filesystem(request_).forget(*node, 1);
    }
  }

 private:
  /// What lies beneath a mount point is not shown.
  [[nodiscard]] bool is_hidden(const char* name) const {
    return points_ != nullptr && mount_point(request_, directory_, name) != nullptr;
  }

  bool put(const char* name, std::uint64_t ino, std::uint8_t entry_type, std::uint64_t offset) {
    struct stat stat {};
    stat.st_ino = ino;
    stat.st_mode = mode_of_entry_type(entry_type);
    if (plus_) {
      // No lookup is counted for inode 0.
      fuse_entry_param param{};
      param.attr = stat;
      return advance(fuse_add_direntry_plus(request_, buffer_ + used_, size_ - used_, name, &param,
                                            static_cast<off_t>(offset)));
    }
    return advance(fuse_add_direntry(request_, buffer_ + used_, size_ - used_, name, &stat,
                                     static_cast<off_t>(offset)));
  }

  bool advance(std::size_t needed) {
    if (needed > size_ - used_) {
      full_ = true;
      return false;
    }
    used_ += needed;
    return true;
  }

  fuse_req_t request_;
  const fuse_ino_t directory_;
  const std::vector<volume::MountPoints::Entry>* const points_;
  char* buffer_;
  const std::size_t size_;
  std::size_t used_ = 0;
  bool plus_ = false;
  bool full_ = false;
  std::vector<node::Node*> given_;
};

void read_directory(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t raw_offset,
                    Plus plus) {
  serve(request, "readdir", id, nullptr, [&]() -> Status {
    char* const buffer = reply_buffer(size);
    const auto offset = static_cast<std::uint64_t>(raw_offset);
    ReplySink sink{request, id, buffer, size};
    if (plus != Plus::kNo) {
      sink.use_plus();
    }
    if (!sink.is_among_mount_points(offset)) {
      const Status read = on_node(
          request, id, [&](auto& fs, auto& node) { return fs.readdir(node, offset, plus, sink); });
      if (!read && sink.used() == 0) {
        return read;
      }
    }
    sink.add_mount_points(offset);
    if (sink.used() == 0 &&
        !on_node(request, id, [](auto& fs, auto& node) { return fs.may_keep_listing(node); })) {
      // The end: the kernel would keep the listing now, and opening asks us nothing (D-003). With a
      // page of it gone it will not.
      (void)fuse_lowlevel_notify_inval_inode(dispatcher(request).session, id, 0, 0);
    }
    if (fuse_reply_buf(request, buffer, sink.used()) != 0) {
      sink.take_back();
    }
    return {};
  });
}

}  // namespace

void on_readdir(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                fuse_file_info* /*file*/) {
  read_directory(request, id, size, offset, Plus::kNo);
}

void on_readdirplus(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                    fuse_file_info* /*file*/) {
  // What the kernel may believe for ever it is told once. (The times of a lent file change by
  // themselves.)
  const bool forever =
      dispatcher(request).timeout_s >= kForever_s && dispatcher(request).backed_files == nullptr;
  read_directory(request, id, size, offset, forever ? Plus::kUntold : Plus::kYes);
}

}  // namespace plyfs::fuse
