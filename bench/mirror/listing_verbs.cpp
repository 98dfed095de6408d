// READDIR and READDIRPLUS: as many entries as fit, straight from getdents64(2).
#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>

#include "fuse/serve.h"
#include "mirror.h"

namespace plyfs::mirror {
namespace {

constexpr std::size_t kLocks = 64;
constexpr std::size_t kMostBytes = 32768;  // of entries read at once
constexpr std::size_t kLeastBytes = 512;   // more than the longest name takes

/// A directory's descriptor has one position.
std::mutex& position_lock(const Node& node) {
  static std::array<std::mutex, kLocks> locks;
  return locks[(reinterpret_cast<std::uintptr_t>(&node) / sizeof(Node)) % kLocks];
}

bool is_dots(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

class Listing {
 public:
  Listing(fuse_req_t request, Node& directory, std::size_t size, bool plus)
      : request_(request),
        directory_(directory),
        plus_(plus),
        size_(size),
        buffer_(fuse::reply_buffer(size)) {}

  /// Puts entries from `offset` on into the reply.
  Status read(std::uint64_t offset);
  [[nodiscard]] const char* bytes() const { return buffer_; }
  [[nodiscard]] std::size_t used() const { return used_; }
  /// The reply did not reach the kernel, which counts none of the lookups.
  void take_back() {
    for (Node* const node : given_) {
      (void)mirror_of(request_).nodes.forget(*node, 1, [](Node&) {});
    }
  }

 private:
  /// False: it does not fit.
  Result<bool> add(const dirent64& entry, int fd);
  bool add_plain(const dirent64& entry);

  fuse_req_t request_;
  Node& directory_;
  const bool plus_;
  const std::size_t size_;
  char* buffer_;
  std::size_t used_ = 0;
  std::vector<Node*> given_;
};

bool Listing::add_plain(const dirent64& entry) {
  struct stat attributes {};
  attributes.st_ino = entry.d_ino;
  attributes.st_mode = static_cast<mode_t>(DTTOIF(entry.d_type));
  std::size_t needed = 0;
  if (plus_) {
    fuse_entry_param param{};  // no lookup is counted for inode 0
    param.attr = attributes;
    needed = fuse_add_direntry_plus(request_, buffer_ + used_, size_ - used_, entry.d_name, &param,
                                    entry.d_off);
  } else {
    needed = fuse_add_direntry(request_, buffer_ + used_, size_ - used_, entry.d_name, &attributes,
                               entry.d_off);
  }
  if (needed > size_ - used_) {
    return false;
  }
  used_ += needed;
  return true;
}

Result<bool> Listing::add(const dirent64& entry, int fd) {
  if (!plus_ || is_dots(entry.d_name) || mirror_of(request_).live) {
    return add_plain(entry);
  }
  if (fuse_add_direntry_plus(request_, nullptr, 0, entry.d_name, nullptr, 0) > size_ - used_) {
    return false;
  }
  Mirror& mirror = mirror_of(request_);
  auto attributes = stat_of({fd, entry.d_name, AT_SYMLINK_NOFOLLOW});
  if (!attributes) {
    // Removed since: the mirror's directory may be changed from outside.
    return attributes.error() == ENOENT ? Result<bool>{add_plain(entry)} : attributes.error();
  }
  Node& node = mirror.nodes.enter(directory_, entry.d_name, *attributes);
  const fuse_entry_param param = param_of(mirror, node, *attributes);
  used_ += fuse_add_direntry_plus(request_, buffer_ + used_, size_ - used_, entry.d_name, &param,
                                  entry.d_off);
  given_.push_back(&node);
  return true;
}

Status Listing::read(std::uint64_t offset) {
  Mirror& mirror = mirror_of(request_);
  const Shared names{mirror.names};
  const int fd = TRY(directory_of(mirror, directory_));
  const std::lock_guard lock{position_lock(directory_)};
  // What does not fit is read again: of what is read for READDIRPLUS a fifth will fit.
  alignas(dirent64) std::array<char, kMostBytes> raw;
  const std::size_t most = std::clamp(plus_ ? size_ / 5 : size_, kLeastBytes, raw.size());
  if (directory_.read_to != offset) {
    TRY(called(::lseek(fd, static_cast<off_t>(offset), SEEK_SET)));
  }
  const auto got =
      static_cast<std::size_t>(TRY(called(::syscall(SYS_getdents64, fd, raw.data(), most))));
  std::uint64_t read_to = offset;
  for (std::size_t at = 0; at < got;) {
    const auto& entry = *reinterpret_cast<const dirent64*>(raw.data() + at);
    const auto added = add(entry, fd);
    if (!added && used_ == 0) {
      directory_.read_to = ~std::uint64_t{0};
      return added.error();
    }
    if (!added || !*added) {
      read_to = ~std::uint64_t{0};  // the descriptor is further
      break;
    }
    at += entry.d_reclen;
    read_to = static_cast<std::uint64_t>(entry.d_off);
  }
  directory_.read_to = read_to;
  return {};
}

void list(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset, bool plus) {
  serve(request, [&]() -> Status {
    Listing listing{request, node_of(request, id), size, plus};
    TRY(listing.read(static_cast<std::uint64_t>(offset)));
    const Mirror& mirror = mirror_of(request);
    if (listing.used() == 0 && mirror.live) {
      (void)fuse_lowlevel_notify_inval_inode(mirror.session, id, 0, 0);  // as plyfs: D-033
    }
    if (fuse_reply_buf(request, listing.bytes(), listing.used()) != 0) {
      listing.take_back();
    }
    return {};
  });
}

void on_readdir(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                fuse_file_info* /*info*/) {
  list(request, id, size, offset, false);
}

void on_readdirplus(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                    fuse_file_info* /*info*/) {
  list(request, id, size, offset, true);
}

}  // namespace

void add_listing_verbs(fuse_lowlevel_ops& table) {
  table.readdir = on_readdir;
  table.readdirplus = on_readdirplus;
}

}  // namespace plyfs::mirror
