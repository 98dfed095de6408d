// The verbs inside volumes: straight to the host, past the layers.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id_map.h"
#include "base/request.h"
#include "sys/creds.h"
#include "sys/open.h"
#include "volume/late_errors.h"
#include "volume/open_listings.h"
#include "volume/volume_nodes.h"

namespace plyfs::volume {

inline constexpr mode_t kExecuteBits = 0111;

/// Our own mountpoint where it lies inside a source: what is there is the bare directory beneath,
/// never the mount (a request to ourselves).
struct CoveredPlace {
  dev_t parent_dev = 0;
  ino_t parent_ino = 0;
  std::string name;
  sys::FdPin directory;  ///< opened before mounting
};

/// What a volume shows.
struct Source {
  sys::UniqueFd object;  ///< O_PATH handle of a directory or a file
  bool read_only = false;
  std::string destination;  ///< for messages
  std::optional<CoveredPlace> covered;
};

struct TreeOptions {
  IdMap uids{{}, std::nullopt};
  IdMap gids{{}, std::nullopt};
  bool xattrs = true;
  bool suid = false;           ///< the mount honours suid bits: sources on nosuid are to show none
  bool no_privileges = false;  ///< ids mean others on disk (D-073)
  sys::Privileges privileges;
  std::size_t max_fds = 4096;
};

/// A found or made object. `node` carries one lookup, which the kernel now owns.
struct VolumeEntry {
  VolumeNodeRef node;
  FileStat stat;  ///< as in the view
};

/// A name whose object the host has deleted.
struct GoneName {
  VolumeNodeRef parent;
  std::string name;
};

/// Thread-safe once the mount serves: any verb from any thread; no lock is held over a system call,
/// since the host's kernel puts what happens in a volume in order. Nodes passed in are kept alive
/// by the kernel's lookups. Errors: those of the host's filesystem, unchanged; EROFS for every
/// change of a read-only volume; EXDEV between volumes; ESTALE when a node's object cannot be found
/// any more (the kernel then looks its path up again).
class VolumeTree {
 public:
  explicit VolumeTree(TreeOptions options);
  ~VolumeTree() {
    kept_.clear();
    nodes_.clear();  // while the cache it releases to is alive
  }
  VolumeTree(const VolumeTree&) = delete;
  VolumeTree& operator=(const VolumeTree&) = delete;

  // While building.
  /// The root node of a further volume. It lives as long as the tree.
  Result<VolumeNode*> add(Source source);
  /// A directory or empty file that is nowhere on the host: a missing directory above a mount
  /// point, or a place that a bind mount will cover. Read-only; lives as long as the tree.
  VolumeNode& make_up(VolumeNode* parent, std::string_view name, mode_t mode);
  /// st_ino of what `..` leads to from a root.
  void set_parent_ino(VolumeNode& root, std::uint64_t ino);

  /// From now on roots show nothing of their volumes, and refuse changes: bind mounts lie over
  /// them.
  void seal() { sealed_ = true; }

  Result<VolumeEntry> lookup(VolumeNode& parent, const char* name);
  /// The entry of a root, for the directory that holds its mount point.
  Result<VolumeEntry> enter(VolumeNode& root);
  void forget(VolumeNode& node, std::uint64_t count) { nodes_.forget(node, count); }
  [[nodiscard]] std::uint64_t shown_ino(VolumeNode& node);
  Result<FileStat> getattr(VolumeNode& node);
  Result<FileStat> setattr(const RequestContext& context, VolumeNode& node,
                           const AttrChange& change);
  Result<std::string> readlink(VolumeNode& node);
  Result<FilesystemStat> statfs(VolumeNode& node);

  Result<VolumeEntry> create(const RequestContext& context, VolumeNode& parent, const char* name,
                             mode_t mode);
  Result<VolumeEntry> create_unnamed(const RequestContext& context, VolumeNode& parent,
                                     mode_t mode);
  Result<VolumeEntry> mkdir(const RequestContext& context, VolumeNode& parent, const char* name,
                            mode_t mode);
  Result<VolumeEntry> mknod(const RequestContext& context, VolumeNode& parent, const char* name,
                            mode_t mode, dev_t device);
  Result<VolumeEntry> symlink(const RequestContext& context, const char* target, VolumeNode& parent,
                              const char* name);
  Result<VolumeEntry> link(VolumeNode& node, VolumeNode& parent, const char* name);
  Status unlink(VolumeNode& parent, const char* name);
  Status rmdir(VolumeNode& parent, const char* name);
  Status rename(VolumeNode& from_parent, const char* from, VolumeNode& to_parent, const char* to,
                unsigned flags);

  /// The mount of some volume's source is nodev.
  [[nodiscard]] bool any_without_devices() const;
  /// Whether a volume's filesystem must see opens and closes (sys::is_close_to_open).
  [[nodiscard]] bool any_close_to_open() const;
  [[nodiscard]] bool is_close_to_open(const VolumeNode& node) const {
    return node.made_up() == nullptr && volumes_[node.volume()].close_to_open;
  }
  /// Three calls for opening and closing a file. They do nothing where the filesystem does not need
  /// them. `flush` is one close(2), perhaps of several, and returns its error (EIO, ENOSPC,
  /// EDQUOT); `closed` is the end of an open file that was for writing.
  Status open(VolumeNode& node, sys::Access access);
  Status flush(VolumeNode& node);
  void closed(VolumeNode& node);

  /// EROFS where nothing may be changed.
  Status writable(const VolumeNode& node) const;
  Result<std::size_t> read(VolumeNode& node, void* buffer, std::size_t size_bytes,
                           std::int64_t offset);
  /// The file itself, for a reader that needs no buffer; null where read() must be called.
  Result<sys::FdPin> pages_of(VolumeNode& node);
  Result<std::size_t> write(const RequestContext& context, VolumeNode& node, const void* buffer,
                            const WriteRequest& request);
  Status fallocate(const RequestContext& context, VolumeNode& node, int mode,
                   const WriteRequest& request);
  Result<std::size_t> copy_file_range(const RequestContext& context, VolumeNode& from,
                                      std::int64_t from_offset, VolumeNode& to,
                                      const WriteRequest& request);
  Result<std::int64_t> lseek(VolumeNode& node, std::int64_t offset, int whence);
  Status fsync(VolumeNode& node, SyncKind kind);
  Status fsyncdir(VolumeNode& node);
  Result<std::uint32_t> inode_flags(VolumeNode& node);
  Status set_inode_flags(VolumeNode& node, std::uint32_t flags);

  /// Entries carry the host's own offsets. Names of mount points are not left out here.
  Status readdir(VolumeNode& directory, std::uint64_t offset, Plus plus, NameSink& sink);
  /// As of the union: others change what is in a volume.
  static bool may_keep_listing(VolumeNode& /*directory*/) { return false; }

  Result<std::size_t> getxattr(VolumeNode& node, const char* name, void* value,
                               std::size_t size_bytes);
  Result<std::string> listxattr(const RequestContext& context, VolumeNode& node);
  Status setxattr(const RequestContext& context, VolumeNode& node, const char* name,
                  std::string_view value, int flags);
  Status removexattr(VolumeNode& node, const char* name);

  /// Names whose objects have no name left on the host, each once. What the kernel still uses stays
  /// usable. Cost: one fstat per open descriptor, at most `max_fds`.
  std::vector<GoneName> find_gone();

  /// For messages only.
  std::string describe(VolumeNode& node);
  [[nodiscard]] std::size_t node_count() { return nodes_.size(); }

 private:
  struct Volume {
    bool read_only = false;
    std::string destination;
    std::uint64_t parent_ino = 0;
    std::optional<CoveredPlace> covered;
    bool close_to_open = false;
    bool no_privileges = false;  ///< suid, sgid and capabilities are not shown
    bool no_devices = false;
  };
  /// Descriptors of a node in the cache.
  enum Slot : std::uint32_t { kHandle, kRead, kWrite };

  // objects
  Result<sys::FdPin> handle(VolumeNode& node);
  sys::FdPin open_already(VolumeNode& node);
  [[nodiscard]] bool is_set_aside(const VolumeNode& node, sys::BorrowedFd object) const;
  Result<sys::FdPin> reopen(VolumeNode& node);
  static std::uint64_t stamp_of(sys::BorrowedFd object, const FileStat& stat);
  FileStat view(const VolumeNode& node, const FileStat& disk);
  [[nodiscard]] bool drops_privileges(const VolumeNode& node) const {
    return node.made_up() == nullptr && volumes_[node.volume()].no_privileges;
  }
  Status drop_privileges(sys::ObjectRef object) const;
  [[nodiscard]] mode_t made_mode(mode_t mode) const {
    return (options_.no_privileges ? without_privileges(mode) : mode) & kPermissionMask;
  }
  std::uint64_t device_index(dev_t dev);
  static std::uint64_t composed_ino(std::uint64_t device_index, dev_t dev, ino_t ino);
  std::uint64_t shown_ino(dev_t dev, ino_t ino) {
    return composed_ino(device_index(dev), dev, ino);
  }
  [[nodiscard]] const CoveredPlace* covered(VolumeNode& parent, const char* name) const;
  VolumeNodeRef attach(VolumeNode& parent, const char* name, sys::BorrowedFd object,
                       const FileStat& stat);
  Result<VolumeEntry> adopt(VolumeNode& parent, const char* name, sys::UniqueFd object);
  Result<VolumeEntry> adopt_written(VolumeNode& parent, const char* name, sys::UniqueFd file);
  Result<VolumeEntry> adopt_named(VolumeNode& parent, const char* name, sys::BorrowedFd dir);
  void release(VolumeNode& node);
  Status kill_privileges(const RequestContext& context, sys::ObjectRef object);
  Result<std::optional<mode_t>> mode_to_leave(const RequestContext& context, sys::ObjectRef object);
  Result<std::optional<mode_t>> mode_to_leave(const RequestContext& context, sys::ObjectRef object,
                                              const WriteRequest& request);
  Status leave_mode(sys::ObjectRef object, std::optional<mode_t> mode, const WriteRequest& request);

  // new objects
  template <typename Make>
  Status make_owned(const RequestContext& context, sys::BorrowedFd dir, Make make);

  // names
  VolumeNodeRef keep_target(VolumeNode& parent, sys::BorrowedFd dir, const char* name);
  void moved(VolumeNode& parent, sys::BorrowedFd dir, const char* name);

  // I/O
  Result<sys::UniqueFd> open_io(VolumeNode& node, sys::Access access);
  Result<sys::FdPin> reader(VolumeNode& node);
  Result<sys::FdPin> writer(VolumeNode& node);
  sys::FdPin pin_writer(const VolumeNode& node, sys::UniqueFd fd);
  sys::FdPin give_up_writer(VolumeNode& node);
  Status resize(VolumeNode& node, std::int64_t size_bytes);
  Result<sys::UniqueFd> listing(VolumeNode& directory);

  const TreeOptions options_;
  std::vector<Volume> volumes_;  ///< const once serving
  bool sealed_ = false;          ///< const once serving
  std::vector<VolumeNodeRef> kept_;
  LateErrors late_errors_;
  VolumeNodes nodes_;
  sys::FdCache fds_;
  OpenListings listings_;
  SharedMutex devices_mu_;
  std::vector<dev_t> devices_ GUARDED_BY(devices_mu_);
};

}  // namespace plyfs::volume
