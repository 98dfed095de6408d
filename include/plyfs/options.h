// What a mount is asked to be: plain data, filled by config/, const once the mount is built.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace plyfs {

/// What the kernel may believe for so long, it may believe for ever.
inline constexpr double kForever_s = 1.0e9;

/// Which whiteout family is written to the upper layer. All families are always read.
enum class WhiteoutFamily : std::uint8_t {
  kProbe,  ///< the best that the upper's filesystem and our privileges allow
  kChar,   ///< character device 0:0, opaque by xattr (kernel overlayfs)
  kXattr,  ///< zero-size file with the overlay.whiteout xattr, opaque by xattr (kernel 6.8+ lowers)
  kAufs,   ///< `.wh.NAME` and `.wh..wh..opq` files (aufs, OCI)
};

/// Under which namespace overlay xattrs are written. Both are always read.
enum class XattrNamespace : std::uint8_t { kProbe, kTrusted, kUser };

/// When copied-up data is synced, as kernel overlayfs's fsync= mount option.
enum class SyncPolicy : std::uint8_t {
  kAuto,      ///< data is synced before a copied-up file becomes visible; fsync passes through
  kStrict,    ///< as auto, and directories and metadata-only copy-ups are synced too
  kVolatile,  ///< nothing is synced, not even on fsync(2); a crash may lose the upper
};

enum class Toggle : std::uint8_t { kOff, kOn };

/// How st_ino is composed when layers lie on several filesystems.
enum class Xino : std::uint8_t { kAuto, kOn, kOff };

/// One contiguous id mapping, as in /proc/PID/uid_map: `inside` ids are shown, `outside` are on
/// disk.
struct IdMapping {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t count = 0;
};

/// How owners are translated between disk and view. Empty maps mean identity.
struct IdPolicy {
  std::vector<IdMapping> uids;
  std::vector<IdMapping> gids;
  std::optional<uid_t> squash_uid;  ///< every object is shown as owned by this user
  std::optional<gid_t> squash_gid;
};

/// A path as the user wrote it, never cleaned lexically; relative to the directory of the call.
struct LayerPath {
  std::string path;
  bool data_only = false;  ///< after `::` or datadir+=: holds data for metacopy files, never names
};

/// A VOLUME as it was asked for: checked as text, nothing looked up yet.
struct VolumeSpec {
  enum class Kind : std::uint8_t { kBind, kNamed, kAnonymous };
  Kind kind = Kind::kBind;
  std::string source;       ///< kBind: an absolute host path; kNamed: the volume's name
  std::string destination;  ///< absolute path in the mount, normalised ("/a/b", no "..")
  bool read_only = false;
  bool no_copy = false;  ///< managed only: never filled from the image
  std::string subpath;   ///< managed only: a directory inside the volume
};

/// `--volumes-from NAME[:ro]`.
struct VolumesFrom {
  std::string name;
  bool read_only = false;  ///< the volumes taken over become read-only, whatever they were
};

/// One volume of a mount, resolved: named volumes already have their host path.
struct VolumeMount {
  std::string source;       ///< absolute host path of a directory or a file
  std::string destination;  ///< absolute path in the mount, normalised ("/a/b", no "..")
  bool read_only = false;
  std::string name;     ///< managed volumes: the name; empty for binds
  std::string subpath;  ///< managed volumes: what of the source is shown; empty: all of it
  bool anonymous = false;
  bool fill = false;  ///< managed and not `nocopy`: filled from the image when empty

  /// For people only. Who writes to the volume decides where this leads: never open it.
  [[nodiscard]] std::string shown_source() const {
    return subpath.empty() ? source : source + '/' + subpath;
  }
};

/// How volumes get into the mount: served by our daemon, or as bind mounts over it.
enum class VolumeMode : std::uint8_t { kAuto, kFuse, kBind };

struct MountOptions {
  std::vector<LayerPath> lowers;  ///< first is the topmost
  std::optional<std::string> upper;
  std::optional<std::string> work;  ///< default: a sibling of upper
  std::string mountpoint;

  bool read_only = false;  ///< asked for by `ro`; also implied by a missing upper
  WhiteoutFamily whiteout = WhiteoutFamily::kProbe;
  XattrNamespace xattr_namespace = XattrNamespace::kProbe;
  SyncPolicy sync = SyncPolicy::kAuto;
  Toggle redirect_dir = Toggle::kOn;
  Toggle metacopy = Toggle::kOn;
  Toggle index = Toggle::kOn;  ///< keep lower hard links together after copy-up
  Xino xino = Xino::kAuto;
  Toggle acl = Toggle::kOn;
  Toggle xattrs = Toggle::kOn;  ///< kOff: user-visible xattrs are refused (noxattrs)
  Toggle writeback = Toggle::kOn;
  IdPolicy ids;

  std::vector<VolumeSpec> volume_specs;   ///< as asked for; store/ makes `volumes` of them
  std::vector<VolumesFrom> volumes_from;  ///< as asked for
  bool strict_volumes = false;            ///< missing host directories are not created
  std::vector<VolumeMount> volumes;       ///< resolved; destinations differ
  VolumeMode volume_mode = VolumeMode::kAuto;
  std::string name;  ///< of the mount (--name); empty: it has none
  /// The digest of the image whose layers the lowest ones are; empty: of none, or not looked up
  /// yet.
  std::string image;

  double timeout_s = kForever_s;      ///< entry, attribute and negative-entry validity, in seconds
  unsigned threads = 0;               ///< worker threads; 0 = one per CPU, 2 to 8
  Toggle uring = Toggle::kOn;         ///< FUSE over io_uring where the kernel offers it
  Toggle passthrough = Toggle::kOff;  ///< the kernel itself reads and writes files of the upper
  Toggle follow = Toggle::kOn;        ///< workers go where the thread that they serve is bound
  std::vector<std::string> fuse_options;  ///< words passed to mount(2)/fusermount3, already vetted
  bool foreground = false;
  bool debug = false;
  std::string fsname = "plyfs";
  std::string subtype = "plyfs";
};

}  // namespace plyfs
