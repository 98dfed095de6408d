// Pictures of directory trees: what a layer holds (Item), and what a directory shows (Picture).
#pragma once

#include <sys/types.h>

#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace plyfs::tests {

/// Everything the builder makes carries this mtime unless told otherwise.
constexpr timespec kOldTime = {1'000'000'000, 123'456'789};

/// One thing in a layer. Missing parents are made as directories of mode 0755.
struct Item {
  enum class Kind {
    kFile,
    kDir,
    kSymlink,
    kSpecial,        // fifo, socket or device, told by `mode` and `device`
    kHardlink,       // `text` is the other name, in the same layer
    kWhiteout,       // character device 0:0
    kXattrWhiteout,  // empty file marked by xattr in a directory marked opaque=x
    kAufsWhiteout,   // .wh.NAME
    kOpaque,         // `text` is the xattr's name; empty: the mounter's overlay namespace
    kAufsOpaque,     // .wh..wh..opq
  };

  Kind kind = Kind::kFile;
  std::string path;
  std::string text;  ///< content, target, other name or xattr name
  mode_t mode = 0644;
  dev_t device = 0;
  std::optional<std::pair<uid_t, gid_t>> owner;
  timespec mtime = kOldTime;
  std::optional<off_t> size;  ///< longer than the content: the rest is a hole
  std::vector<std::pair<std::string, std::string>> xattrs;

  Item with_mode(mode_t bits) &&;
  Item with_owner(uid_t uid, gid_t gid) &&;
  Item with_xattr(std::string name, std::string value) &&;
  Item with_mtime(timespec time) &&;
  Item with_size(off_t bytes) &&;
};

using Items = std::vector<Item>;

Item file(std::string path, std::string content = {});
Item dir(std::string path);
Item symlink(std::string path, std::string target);
Item fifo(std::string path);
Item socket_node(std::string path);
Item device(std::string path, mode_t type, unsigned major, unsigned minor);
Item hardlink(std::string path, std::string to);
Item whiteout(std::string path);
Item xattr_whiteout(std::string path);
Item aufs_whiteout(std::string path);
Item opaque(std::string path, std::string xattr_name = {});
Item aufs_opaque(std::string path);

/// Makes `items` below `root`, which must exist. `prefix` is "trusted.overlay." or "user.overlay.".
void make_tree(const std::string& root, const Items& items, const std::string& prefix);

/// What the union of `layers` (first is the topmost) must show, as one layer without markers.
Items merged(const std::vector<Items>& layers);

/// What a directory shows, one line per entry, sorted: `a/`, `a/x=content`, `l->target`, `p|`,
/// `s^` (socket), `c%5:1` (character device), `b#7:0`. Content over 64 bytes is a digest.
using Picture = std::vector<std::string>;
Picture picture(const std::string& root);

/// Like picture(), for an upper layer: markers of every family are read as `w (whiteout)`,
/// `d/ (opaque)`, `f=.. (metacopy)`, `d/ (redirect)`; private xattrs do not show otherwise.
Picture upper_picture(const std::string& root);

/// All that a dump can tell about each path: type, mode, owner, links, size, mtime, rdev, content
/// digest, xattrs. Two equal dumps are equal trees.
using Dump = std::map<std::string, std::string>;
Dump full_dump(const std::string& root);
/// The same without what unlink, rename and friends change in a directory (its mtime).
Dump dump_without_directory_times(const std::string& root);

/// The same without any time: what must be equal between two runs of the same calls.
Dump dump_without_times(const std::string& root);

/// Lines that differ, for messages: `- before`, `+ after`. Empty when equal.
std::string difference(const Dump& before, const Dump& after);

/// rm -rf, also through directories without permissions.
void remove_tree(const std::string& root);

}  // namespace plyfs::tests
