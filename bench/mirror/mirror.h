// The mirror: one directory, shown as it is. Nothing but what FUSE itself costs.
#pragma once

#include <fuse_lowlevel.h>

#include <atomic>
#include <cstddef>
#include <shared_mutex>
#include <string>

#include "fuse/dispatch.h"
#include "node_table.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::mirror {

/// What the callbacks get. Of plyfs's Dispatcher it uses what the session does, and INIT.
struct Mirror : fuse::Dispatcher {
  NodeTable nodes;
  /// Held (shared) while a name is used in a system call, exclusively while one goes or moves.
  std::shared_mutex names;
  std::size_t most_files = 0;           ///< descriptors to keep, besides those that must be
  std::atomic<std::size_t> kept{0};     ///< of them
  std::atomic<bool> quiet_reads{true};  ///< O_NOATIME, until it is refused
  /// What others do to the directory is seen by the next system call, as in a served volume of
  /// plyfs: the kernel believes names for no time, and keeps no listing.
  bool live = false;
  [[nodiscard]] double entry_timeout_s() const { return live ? 0 : timeout_s; }
  [[nodiscard]] double attr_timeout_s(const Node& node) const;
};

using Shared = std::shared_lock<std::shared_mutex>;
using Exclusive = std::unique_lock<std::shared_mutex>;

inline Mirror& mirror_of(fuse_req_t request) {
  return *static_cast<Mirror*>(static_cast<fuse::Dispatcher*>(fuse_req_userdata(request)));
}
inline Node& node_of(fuse_req_t request, fuse_ino_t id) {
  return id == FUSE_ROOT_ID ? mirror_of(request).nodes.root() : *reinterpret_cast<Node*>(id);
}
inline fuse_ino_t id_of(const Mirror& mirror, const Node& node) {
  return &node == &const_cast<Mirror&>(mirror).nodes.root() ? FUSE_ROOT_ID
                                                            : reinterpret_cast<fuse_ino_t>(&node);
}

/// A descriptor that is the node's, or only for now.
class File {
 public:
  explicit File(int kept) : fd_(kept) {}
  explicit File(sys::UniqueFd own) : fd_(own.borrow().get()), own_(std::move(own)) {}
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
  sys::UniqueFd own_;
};

/// A directory's descriptor, for *at calls and listing. `names` is held.
Result<int> directory_of(Mirror& mirror, Node& node);
/// How to reach the node. `names` is held.
Result<Place> place_of(Mirror& mirror, Node& node);
/// For data. `names` is held.
Result<File> open_data(Mirror& mirror, Node& node, Slot slot);
/// Keeps `fd` in the node if there is room. `names` need not be held.
File keep(Mirror& mirror, Node& node, Slot slot, sys::UniqueFd fd);
/// Makes sure that the node can be reached without its name. `names` is held exclusively.
Status hold(Mirror& mirror, Node& node);

Result<struct stat> stat_of(const Place& place);
/// Gives the file the mtime that WRITEs took from it, if any did. `names` is not held.
Status settle_mtime(Mirror& mirror, Node& node);

/// Exactly one reply: the verb's own, or its error.
template <typename Verb>
void serve(fuse_req_t request, Verb verb) {
  int error = EIO;
  try {
    const Status done = verb();
    if (done) {
      return;
    }
    error = done.error().value();
  } catch (const std::bad_alloc&) {
    error = ENOMEM;
  }
  (void)fuse_reply_err(request, error);
}

/// An errno as an error, or what a system call returned.
inline Result<long> called(long result) {
  if (result < 0) {
    return Errno{errno};
  }
  return result;
}

fuse_entry_param param_of(const Mirror& mirror, const Node& node, const struct stat& attributes);

void add_name_verbs(fuse_lowlevel_ops& table);
void add_making_verbs(fuse_lowlevel_ops& table);
void add_attribute_verbs(fuse_lowlevel_ops& table);
void add_data_verbs(fuse_lowlevel_ops& table);
void add_listing_verbs(fuse_lowlevel_ops& table);

/// The whole table. INIT and OPENDIR are plyfs's.
const fuse_lowlevel_ops& callbacks();

}  // namespace plyfs::mirror
