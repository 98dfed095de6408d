// The POSIX verbs of the union, each once. No FUSE type, no system call.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

#include "base/file_stat.h"
#include "base/id_map.h"
#include "base/request.h"
#include "copyup/engine.h"
#include "layer/layer_stack.h"
#include "layer/upper_abilities.h"
#include "layer/whiteouts.h"
#include "layer/workdir.h"
#include "merge/lookup.h"
#include "node/directory_cache.h"
#include "node/directory_handles.h"
#include "node/locks.h"
#include "node/node_table.h"
#include "ops/statistics.h"
#include "plyfs/options.h"
#include "plyfs/result.h"

namespace plyfs::ops {

/// A found or made object. `node` carries one lookup, which the kernel now owns.
struct Entry {
  node::NodeRef node;
  FileStat stat;  ///< as in the view
};

/// Everything below the verbs; built by src/mount.cpp, in this order, and owned here.
struct Foundation {
  layer::LayerStack stack;
  std::unique_ptr<layer::UpperWriter> writer;
  std::unique_ptr<layer::Workdir> workdir;      ///< null: read-only mount
  std::unique_ptr<layer::Whiteouts> whiteouts;  ///< null: read-only mount
  std::unique_ptr<copyup::Engine> engine;       ///< null: read-only mount
  bool redirect = false;                        ///< renaming merged directories is allowed
  bool metacopy = false;                        ///< metadata changes copy no data
  bool index = false;                           ///< lower hard links stay linked
  bool xattrs = true;
  bool stamp_new_files = false;  ///< D-058
  IdMap uids{{}, std::nullopt};
  IdMap gids{{}, std::nullopt};
  /// Ids mean others on disk: suid, sgid and capabilities are neither shown, copied nor set
  /// (D-073).
  bool no_privileges = false;
  std::size_t max_fds = 4096;
};

/// Receives directory entries, and objects with them where readdirplus asks for it.
class DirectorySink : public NameSink {
 public:
  /// `entry` may be null: the name exists, but its attributes could not be read now.
  virtual bool add_plus(const char* name, Entry* entry, std::uint64_t ino, std::uint8_t entry_type,
                        std::uint64_t offset) = 0;
};

/// Thread-safe: any verb from any thread. Nodes passed in are kept alive by the kernel's lookups.
/// Errors of every mutating verb: EROFS without an upper layer; otherwise as POSIX, or as the
/// layer's filesystem says.
class FileSystem {
 public:
  static Result<std::unique_ptr<FileSystem>> make(Foundation foundation);
  ~FileSystem();
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  [[nodiscard]] node::Node& root() { return table_.root(); }
  [[nodiscard]] std::size_t max_fds() const { return f_.max_fds; }
  [[nodiscard]] bool read_only() const { return f_.workdir == nullptr; }
  /// fsync and fsyncdir have nothing to do, ever.
  [[nodiscard]] bool never_syncs() const {
    return f_.engine == nullptr || f_.engine->policy().sync == SyncPolicy::kVolatile;
  }

  Result<Entry> lookup(node::Node& parent, const char* name);
  void forget(node::Node& node, std::uint64_t count) { table_.forget(node, count); }
  Result<FileStat> getattr(node::Node& node);
  Result<FileStat> setattr(const RequestContext& context, node::Node& node,
                           const AttrChange& change);
  Result<std::string> readlink(node::Node& node);

  Result<Entry> create(const RequestContext& context, node::Node& parent, const char* name,
                       mode_t mode);
  Result<Entry> create_unnamed(const RequestContext& context, node::Node& parent, mode_t mode);
  Result<Entry> mkdir(const RequestContext& context, node::Node& parent, const char* name,
                      mode_t mode);
  Result<Entry> mknod(const RequestContext& context, node::Node& parent, const char* name,
                      mode_t mode, dev_t device);
  Result<Entry> symlink(const RequestContext& context, const char* target, node::Node& parent,
                        const char* name);
  Result<Entry> link(node::Node& node, node::Node& parent, const char* name);
  Status unlink(node::Node& parent, const char* name);
  Status rmdir(node::Node& parent, const char* name);
  /// `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE; anything else EINVAL, as kernel overlayfs.
  Status rename(node::Node& from_parent, const char* from, node::Node& to_parent, const char* to,
                unsigned flags);

  /// The file of the upper that the kernel may read and write without asking; null where there is
  /// none with the data, or where a write may have to take suid and sgid bits away.
  /// For kReadWrite the file is copied up. EROFS; errors of copy-up.
  Result<sys::FdPin> open_for_kernel(node::Node& node, sys::Access access);
  Result<std::size_t> read(node::Node& node, void* buffer, std::size_t size_bytes,
                           std::int64_t offset);
  Result<std::size_t> write(const RequestContext& context, node::Node& node, const void* buffer,
                            const WriteRequest& request);
  Status fallocate(const RequestContext& context, node::Node& node, int mode,
                   const WriteRequest& request);
  Result<std::size_t> copy_file_range(const RequestContext& context, node::Node& from,
                                      std::int64_t from_offset, node::Node& to,
                                      const WriteRequest& request);
  Result<std::int64_t> lseek(node::Node& node, std::int64_t offset, int whence);
  Status fsync(node::Node& node, SyncKind kind);
  Status fsyncdir(node::Node& node);
  Result<std::uint32_t> inode_flags(node::Node& node);
  Status set_inode_flags(node::Node& node, std::uint32_t flags);

  Status readdir(node::Node& directory, std::uint64_t offset, Plus plus, DirectorySink& sink);
  /// To be asked before a reader is told that its listing ends: with that the kernel begins to use
  /// what it has kept of it. False: it must drop that first (D-063).
  static bool may_keep_listing(node::Node& directory);
  /// The same for all of the union: that of the topmost layer.
  Result<FilesystemStat> statfs(node::Node& node);

  /// size 0 asks for the size; ERANGE when it does not fit; ENODATA.
  Result<std::size_t> getxattr(node::Node& node, const char* name, void* value,
                               std::size_t size_bytes);
  /// NUL-separated. trusted.* only for root.
  Result<std::string> listxattr(const RequestContext& context, node::Node& node);
  Status setxattr(const RequestContext& context, node::Node& node, const char* name,
                  std::string_view value, int flags);
  Status removexattr(node::Node& node, const char* name);

  /// For messages only: where the node is in the merged tree, with unprintable bytes escaped.
  std::string describe(node::Node& node);
  [[nodiscard]] std::size_t node_count() { return table_.size(); }
  /// Thread-safe, cheap enough to be asked every second.
  [[nodiscard]] Statistics statistics();
  /// Before serving: volatile mounts leave a mark that a crash would keep.
  Status start();
  /// Unmount: what the sync policy still owes (volatile: the crash marker is removed).
  void shut_down();

 private:
  explicit FileSystem(Foundation foundation);

  /// How to reach a node's object in its topmost layer. Holds the tree lock (shared) and, for
  /// named files, the parent's DirLock (shared) for as long as it lives.
  class Located {
   public:
    explicit Located(FileSystem& fs);
    Result<sys::ObjectRef> find(node::Node& node);
    /// Of a file that is in a lower layer: what is there stays there, so this outlives the locks.
    Result<node::Orphan> find_below(node::Node& node);

   private:
    Result<sys::ObjectRef> find_directory(node::Node& node);
    Result<sys::ObjectRef> find_in_closed(sys::ObjectRef object);
    FileSystem& fs_;
    SharedLock tree_;
    std::optional<node::DirLock> dir_;
    sys::FdPin pin_;
    node::Orphan orphan_;
    sys::UniqueFd closed_;
    std::string index_name_;
  };

  /// A directory being changed: its upper part, opened. The caller holds its DirLock exclusively.
  struct UpperPlace {
    sys::FdPin fd;
    merge::DirectoryPart* part = nullptr;
    [[nodiscard]] layer::UpperDirectory directory() const {
      return {fd->borrow(), &part->aufs, &part->xwhiteouts};
    }
  };
  enum class UpperState : std::uint8_t { kAbsent, kWhiteout, kObject };

  // attributes
  FileStat view(node::Node& node, const FileStat& disk);
  FileStat view_found(layer::LayerIndex layer, const FileStat& disk, std::uint64_t ino,
                      std::size_t part_count);
  /// Whether what an object of that layer says of suid, sgid and capabilities means nothing.
  [[nodiscard]] bool drops_privileges(layer::LayerIndex layer) const {
    return f_.no_privileges || f_.stack[layer].no_privileges;
  }
  Status drop_privileges(sys::ObjectRef object);
  FileStat view_locked(node::Node& node, const FileStat& disk);
  Result<FileStat> stat_node(node::Node& node);
  Status resize(sys::ObjectRef object, node::Node& node, const AttrChange& change);
  Status apply(const RequestContext& context, sys::ObjectRef object, node::Node& node,
               const AttrChange& change, bool seen);
  Result<std::optional<mode_t>> mode_to_leave(const RequestContext& context, sys::ObjectRef object);
  Status take_privileges(const RequestContext& context, sys::ObjectRef object,
                         const WriteRequest& request);
  Status change_owner(sys::ObjectRef object, const AttrChange& change);
  Status kill_privileges(const RequestContext& context, sys::ObjectRef object);
  void put_back_mtime(node::Node& node, sys::ObjectRef object, const FileStat& before);

  // names
  Status check_new_name(const char* name) const;
  Status writable() const { return read_only() ? Status{Errno{EROFS}} : Status{}; }
  /// What a listing knows of a name, while the directory has this version and so many parts.
  struct ListingHint {
    merge::NamePlaces places;
    std::uint32_t version;
    std::size_t part_count;
  };
  Result<Entry> resolve(node::Node& parent, const char* name);
  /// A name that is not known yet; `hint` where a listing asks. The caller holds tree and the
  /// directory's DirLock.
  Result<Entry> resolve_in(node::NodeDirectory& directory, node::Node& parent, const char* name,
                           const ListingHint* hint);
  Result<node::NodeSeed> seed_of(node::NodeDirectory& directory, node::Node& parent,
                                 const char* name, merge::Resolution& resolution);
  Status seed_lower_link(node::NodeDirectory& directory, node::Node& parent, const char* name,
                         merge::Resolution& resolution, node::NodeSeed& seed);
  Status seed_upper_link(node::NodeDirectory& parent, const char* name,
                         merge::Resolution& resolution, node::NodeSeed& seed);
  /// Where the directory is in the merged tree of the lower layers; from the root, "" for it.
  std::string lower_path(node::Node& directory);
  std::string lower_path_of(node::Node& parent, std::string_view name);
  /// What a redirect mark on `name` in `parent` means, as a lower path.
  std::string redirected_path(node::Node& parent, const std::string& redirect);
  Result<bool> is_origin(node::NodeDirectory& parent, const char* name,
                         const merge::Resolution& below, const std::string& origin);
  Result<node::NodeRef> child(node::Node& parent, const char* name);
  Result<UpperPlace> upper_place(node::Node& directory);
  Result<UpperState> upper_state(const UpperPlace& place, const char* name);
  Result<bool> lower_has(node::Node& directory, const char* name);
  layer::LayerIndex first_lower(node::Node& directory, const char* name);
  void count_wasted(node::Node& directory, std::uint32_t probes);
  /// What its names lead to is elsewhere now.
  static void changed(node::Node& directory) { directory.directory().version.fetch_add(1); }
  /// For a change of its names. The kernel has it locked: no reader is being told names just now.
  static void names_changed(node::Node& directory);

  // creation
  using Maker = std::function<Status(sys::BorrowedFd directory, const char* name)>;
  struct Making {
    mode_t type;
    Maker make;
    sys::UniqueFd* file = nullptr;  ///< filled by `make` for regular files
  };
  Result<Entry> make_object(const RequestContext& context, node::Node& parent, const char* name,
                            const Making& making);
  [[nodiscard]] mode_t made_mode(mode_t mode) const {
    return (f_.no_privileges ? without_privileges(mode) : mode) & kPermissionMask;
  }
  Status make_owned(const RequestContext& context, const Making& making, sys::BorrowedFd dir,
                    const char* name, bool* incomplete);
  Status make_staged(const RequestContext& context, const Making& making, const UpperPlace& place,
                     const char* name, UpperState over);
  Status make_at(const RequestContext& context, const Making& making, const UpperPlace& place,
                 const char* name);
  Errno take_back(const UpperPlace& place, const char* name, Errno error);
  Result<Entry> adopt(node::Node& parent, const char* name, const UpperPlace& place,
                      sys::UniqueFd file);

  // removal
  node::Orphan orphan_of(node::Node& node, const sys::FdPin& directory, const char* name);
  node::Orphan orphan_handle(node::Node& node, sys::ObjectRef object);
  Status remove_file(node::Node& parent, const char* name, node::Node& target);
  Status before_link_change(node::Node& node, std::int64_t& union_nlink);
  void after_unlink(node::Node& node);
  Status link_up(node::Node& node, const UpperPlace& place, const char* name);

  // rename
  struct RenameSide {
    node::Node* parent;
    const char* name;
    node::NodeRef node;  ///< null: nothing there
    UpperPlace place;
    UpperState state = UpperState::kAbsent;
    bool lower = false;           ///< a layer below has a visible object of that name
    bool spare_whiteout = false;  ///< the rename left one where nothing is to be hidden
  };
  Result<bool> may_redirect(node::Node& directory);
  Status prepare_rename(node::Node& from, node::Node* to, unsigned flags);
  Status fill_side(RenameSide& side);
  Status check_rename(const RenameSide& from, const RenameSide& to, unsigned flags);
  Status rename_locked(RenameSide& from, RenameSide& to, unsigned flags);
  Status prepare_move(RenameSide& moved, const RenameSide& target);
  /// What a replaced directory was until the rename is visible: to be put back if that fails.
  struct ClearedTarget {
    std::optional<layer::StagedEntry> old;
    bool exchanged = false;
  };
  struct Replaced {
    node::Orphan orphan;
    bool link = false;  ///< a name of an indexed file
  };
  Status clear_target(RenameSide& to, ClearedTarget& cleared);
  Status swap_target(RenameSide& to, layer::StagedEntry& fresh, ClearedTarget& cleared);
  Status prepare_replaced(RenameSide& to, Replaced& replaced);
  Status publish_rename(RenameSide& from, RenameSide& to, unsigned flags);
  void put_back(RenameSide& to, ClearedTarget& cleared);
  void clean_up_after_rename(RenameSide& from, RenameSide& to, unsigned flags);
  Status prepare_directory_move(node::Node& directory, const UpperPlace& place, const char* name,
                                bool target_has_lower);
  bool is_ancestor(node::Node& ancestor, node::Node& node);

  // copy-up
  /// Whether `disk` is of an object of the upper that others could mark in user.*: it must not be
  /// left without its data, since such marks are not believed (layer/mark_rules.h).
  [[nodiscard]] bool others_may_mark(const FileStat& disk) const {
    return f_.engine->policy().marks == XattrNamespace::kUser &&
           !f_.stack.believes(layer::kUpper, disk);
  }
  enum class Want : std::uint8_t { kMetadata, kData, kTruncated };
  Result<Want> want_for(node::Node& node, const AttrChange& change);
  Status ensure_upper(node::Node& node, Want want, std::int64_t size_bytes = 0);
  Status ensure_file_upper(node::Node& node, Want want, std::int64_t size_bytes);
  Status copy_up_file(node::Node& node, Want want, std::int64_t size_bytes);
  Status publish_copy(node::Node& node, const copyup::Plan& plan, copyup::Staged& staged,
                      std::optional<merge::DataLocation> data);
  Status publish_named(node::Node& node, const copyup::Plan& plan, copyup::Staged& staged,
                       const node::NodeNames& names,
                       const std::optional<merge::DataLocation>& data);
  Status publish_indexed(node::Node& node, const copyup::Plan& plan, copyup::Staged& staged,
                         const UpperPlace& place, const node::NodeNames& names);
  Status publish_index(const copyup::Plan& plan, copyup::Staged& staged, std::string& index_name);
  Status complete_data(node::Node& node);
  Status ensure_directory_upper(node::Node& directory);
  Status copy_up_directory(node::Node& directory, node::Node& parent);
  Status mark_impure(const UpperPlace& place);
  Status write_redirect(node::Node& node, sys::ObjectRef object);
  Status write_nlink(sys::ObjectRef object, std::int64_t union_nlink, std::int64_t upper_nlink);

  // I/O
  Result<sys::FdPin> open_io(node::Node& node, sys::Access access);
  Result<sys::UniqueFd> open_below(node::Node& node);
  sys::FdPin keep_below(node::Node& node, sys::UniqueFd opened);
  Result<sys::FdPin> open_data(node::Node& node);
  template <typename Change>
  std::invoke_result_t<Change> keeping_mtime(node::Node& node, sys::ObjectRef object,
                                             WriteOrigin origin, Change change);
  Result<sys::UniqueFd> open_upper(node::Node& node, sys::Access access);
  Result<sys::UniqueFd> open_object(sys::ObjectRef object, sys::Access access);
  Result<sys::UniqueFd> open_at_path(const merge::DataLocation& data);
  void drop_io(node::Node& node);
  void release(node::Node& node);

  /// Of the present version for readers that begin, else perhaps an older one. Takes locks.
  Result<std::shared_ptr<const merge::Listing>> listing(node::Node& directory,
                                                        std::uint64_t offset);
  static std::uint64_t kept_version(node::Node& directory);
  class EntryTeller;
  bool add_name(node::Node& directory, const merge::Listing& listing,
                const merge::ListedEntry& entry, DirectorySink& sink);
  Result<std::uint64_t> listed_ino(node::Node& directory, const merge::Listing& listing,
                                   const merge::ListedEntry& entry);

  Foundation f_;
  merge::Lookup lookup_;
  node::TreeLocks locks_;
  node::NodeTable table_;
  node::DirectoryHandles handles_;
  node::ListingCache listings_;
  node::LowerNamesCache lower_names_;
  sys::FdCache io_;
  CopyUpCounters copied_;
};

}  // namespace plyfs::ops
