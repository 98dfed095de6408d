// What every callback needs: which node a message means, and exactly one reply.
//
// The inode number on the wire is the address of a node, hidden (fuse/node_id.h), a volume's with
// the lowest bit set. Everything else that the two have in common is the names of their verbs, so a
// callback says what it wants once, and on_node() says it to whom the node belongs to.
#pragma once

#include <fuse_lowlevel.h>

#include <exception>
#include <new>
#include <string>
#include <utility>

#include "fuse/dispatch.h"
#include "fuse/node_id.h"
#include "fuse/raw_request.h"
#include "fuse/reply.h"
#include "ops/filesystem.h"
#include "volume/mount_points.h"
#include "volume/tree.h"

namespace plyfs::fuse {

inline Dispatcher& dispatcher(fuse_req_t request) {
  return *static_cast<Dispatcher*>(fuse_req_userdata(request));
}
inline ops::FileSystem& filesystem(fuse_req_t request) { return *dispatcher(request).filesystem; }
inline volume::VolumeTree& volumes(fuse_req_t request) { return *dispatcher(request).volumes; }

inline bool is_volume(fuse_ino_t id) { return (id & kVolumeTag) != 0 && id != FUSE_ROOT_ID; }

inline node::Node& node_of(fuse_req_t request, fuse_ino_t id) {
  return id == FUSE_ROOT_ID ? filesystem(request).root()
                            : *reinterpret_cast<node::Node*>(id ^ kIdMask);
}
inline volume::VolumeNode& volume_node_of(fuse_ino_t id) {
  return *reinterpret_cast<volume::VolumeNode*>((id & ~kVolumeTag) ^ kIdMask);
}
fuse_ino_t id_of(const Dispatcher& dispatcher, const node::Node& node);
fuse_ino_t id_of(const Dispatcher& dispatcher, const volume::VolumeNode& node);

/// Calls `verb(fs, node)` with the union or the volumes.
template <typename Verb>
auto on_node(fuse_req_t request, fuse_ino_t id, Verb verb) {
  return is_volume(id) ? verb(volumes(request), volume_node_of(id))
                       : verb(filesystem(request), node_of(request, id));
}

/// Calls `verb(fs, first, second)`; EXDEV where one is the union's and the other a volume's.
template <typename Verb>
auto on_nodes(fuse_req_t request, fuse_ino_t first, fuse_ino_t second, Verb verb)
    -> decltype(verb(filesystem(request), node_of(request, first), node_of(request, second))) {
  if (is_volume(first) != is_volume(second)) {
    return Errno{EXDEV};
  }
  return is_volume(first)
             ? verb(volumes(request), volume_node_of(first), volume_node_of(second))
             : verb(filesystem(request), node_of(request, first), node_of(request, second));
}

/// The volume that appears at that name; null for none.
volume::VolumeNode* mount_point(fuse_req_t request, fuse_ino_t parent, const char* name);
/// EBUSY for a mount point and for a directory above one.
Status not_kept(fuse_req_t request, fuse_ino_t parent, const char* name);
/// EEXIST for a mount point, which is there whatever lies beneath.
Status not_taken(fuse_req_t request, fuse_ino_t parent, const char* name);

/// The shortest time that the kernel can count: attributes are then good until the end of the next
/// timer tick, long enough for the checks of one path walk.
inline constexpr double kOneTick_s = 1.5e-9;

/// How long the kernel may believe what a reply says.
struct Timeouts {
  double entry_s = 0;
  double attr_s = 0;
};
Timeouts timeouts_of(const Dispatcher& dispatcher, const node::Node& node);
Timeouts timeouts_of(const Dispatcher& dispatcher, const volume::VolumeNode& node);

template <typename Entry>
fuse_entry_param param_of(const Dispatcher& dispatcher, const Entry& entry) {
  const Timeouts timeouts = timeouts_of(dispatcher, *entry.node);
  fuse_entry_param param{};
  param.ino = id_of(dispatcher, *entry.node);
  param.generation = entry.node->generation();
  param.attr = to_stat(entry.stat);
  param.attr_timeout = timeouts.attr_s;
  param.entry_timeout = timeouts.entry_s;
  return param;
}

/// Answers with an entry. The kernel's from here: after the reply it may be forgotten by another
/// thread at once.
template <typename Fs, typename Entry>
Status reply_entry(fuse_req_t request, Fs& fs, Entry entry) {
  const fuse_entry_param param = param_of(dispatcher(request), entry);
  auto* const node = entry.node.give_to_kernel();
  if (fuse_reply_entry(request, &param) != 0) {
    fs.forget(*node, 1);
  }
  return {};
}

void report(fuse_req_t request, const char* verb, fuse_ino_t id, const char* name, int error);
void report(const char* verb, const char* what);

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
    report(name_of_verb, failure.what());
  }
  (void)fuse_reply_err(request, error);
}

/// One large buffer per thread, for replies.
char* thread_buffer(std::size_t size_bytes);
/// The same for requests that carry no name or data: then a reply can be made where it leaves.
char* reply_buffer(std::size_t size_bytes);

/// `fh` of a volume's open file past the page cache, before Linux 6.6: writing to it leaves pages
/// of before in the cache, and whoever reads the file by it would find them where the new data is.
constexpr std::uint64_t kLeavesOldPages = 1;
void on_open(fuse_req_t request, fuse_ino_t id, fuse_file_info* file);
void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* file);
void on_flush(fuse_req_t request, fuse_ino_t id, fuse_file_info* file);
void on_release(fuse_req_t request, fuse_ino_t id, fuse_file_info* file);
void on_readdir(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                fuse_file_info* file);
void on_readdirplus(fuse_req_t request, fuse_ino_t id, std::size_t size, off_t offset,
                    fuse_file_info* file);

}  // namespace plyfs::fuse
