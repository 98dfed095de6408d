// Invents the lower layers of a seed.
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "layers.h"
#include "operations.h"
#include "path_model.h"

namespace plyfs::difftest {
namespace {

void append_little_endian(std::string& bytes, std::uint64_t value, int size) {
  for (int i = 0; i < size; ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xFFU);
}

timespec random_mtime(Random& random) {
  return {random.between(1, 1600000000), random.between(0, 999999999)};
}

mode_t random_mode(Random& random, EntryKind kind) {
  static const std::vector<mode_t> kFiles = {0644, 0644, 0600, 0755,  0777,  0444,
                                             0000, 0664, 0640, 04755, 02755, 06711};
  static const std::vector<mode_t> kDirectories = {0755, 0755,  0755,  0777,  0700,
                                                   0711, 02775, 01777, 03777, 0555};
  return kind == EntryKind::kDirectory ? random.pick(kDirectories) : random.pick(kFiles);
}

/// The layer being made: its entries by path, and what the layers below show.
class LayerMaker {
 public:
  LayerMaker(Random& random, const LayerLimits& limits, std::set<std::string>& below,
             std::vector<LayerEntry>& out, int layer)
      : random_(random),
        limits_(limits),
        below_(below),
        visible_below_(out),
        out_(out),
        layer_(layer) {}

  void make() {
    const std::size_t wanted = 5 + random_.below(14);
    const std::size_t first = out_.size();
    for (std::size_t i = 0; i < wanted; ++i) add_random();
    drop_stray_whiteouts(first);
    for (const auto& [path, kind] : own_) {
      if (kind != EntryKind::kWhiteout && kind != EntryKind::kXattrWhiteout) below_.insert(path);
    }
  }

 private:
  /// The kernel lists whiteouts that lie in a directory which merges with nothing below (it never
  /// writes any there), though they cannot be looked up. That is no behaviour to compare with.
  void drop_stray_whiteouts(std::size_t first) {
    std::set<std::string> merged = {""};
    for (std::size_t i = first; i < out_.size(); ++i) {
      const LayerEntry& entry = out_[i];
      const auto known = visible_below_.paths().find(entry.path);
      if (entry.kind == EntryKind::kDirectory && !entry.opaque &&
          merged.count(parent_of(entry.path)) != 0 && known != visible_below_.paths().end() &&
          known->second == PathKind::kDirectory) {
        merged.insert(entry.path);
      }
    }
    const auto stray = [&](const LayerEntry& entry) {
      const bool whiteout =
          entry.kind == EntryKind::kWhiteout || entry.kind == EntryKind::kXattrWhiteout;
      return whiteout && merged.count(parent_of(entry.path)) == 0;
    };
    out_.erase(std::remove_if(out_.begin() + static_cast<std::ptrdiff_t>(first), out_.end(), stray),
               out_.end());
  }

  static std::string parent_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash);
  }

  std::string random_parent() {
    std::vector<std::string> directories = {""};
    for (const auto& [path, kind] : own_) {
      if (kind == EntryKind::kDirectory && depth(path) < 3) directories.push_back(path);
    }
    return random_.pick(directories);
  }

  static int depth(const std::string& path) {
    return 1 + static_cast<int>(std::count(path.begin(), path.end(), '/'));
  }

  EntryKind random_kind() {
    const std::size_t roll = random_.below(100);
    if (roll < 38) return EntryKind::kFile;
    if (roll < 72) return EntryKind::kDirectory;
    if (roll < 80) return EntryKind::kSymlink;
    if (roll < 82) return EntryKind::kFifo;
    if (roll < 83) return EntryKind::kSocket;
    if (roll < 84) return limits_.devices ? EntryKind::kDevice : EntryKind::kFifo;
    if (roll < 91) return limits_.hard_links ? EntryKind::kHardLink : EntryKind::kFile;
    // The lowest layer's marks are not honoured, so xattr whiteouts are kept above it.
    if (roll < 93)
      return limits_.xattr_whiteouts && layer_ > 0 ? EntryKind::kXattrWhiteout
                                                   : EntryKind::kWhiteout;
    return EntryKind::kWhiteout;
  }

  /// A path to shadow from below with its parents made in this layer, or a new name.
  std::string random_path(EntryKind kind) {
    const bool whiteout = kind == EntryKind::kWhiteout || kind == EntryKind::kXattrWhiteout;
    if (!below_.empty() && random_.chance(whiteout ? 85 : 40)) {
      auto chosen = below_.begin();
      std::advance(chosen, static_cast<std::ptrdiff_t>(random_.below(below_.size())));
      return *chosen;
    }
    const std::string parent = random_parent();
    const std::string& name = random_.pick(name_pool());
    return parent.empty() ? name : parent + "/" + name;
  }

  bool add_parents(const std::string& path) {
    for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
      const std::string parent = path.substr(0, at);
      const auto known = own_.find(parent);
      if (known == own_.end()) {
        add(parent, EntryKind::kDirectory);
      } else if (known->second != EntryKind::kDirectory) {
        return false;
      }
    }
    return true;
  }

  void add_random() {
    const EntryKind kind = random_kind();
    const std::string path = random_path(kind);
    if (own_.count(path) != 0 || !add_parents(path)) return;
    // The kernel looks for xattr whiteouts in marked directories only, never in a layer's root.
    const bool in_root = path.find('/') == std::string::npos;
    const bool misplaced = kind == EntryKind::kXattrWhiteout && in_root;
    add(path, misplaced ? EntryKind::kWhiteout : kind);
  }

  std::string random_file_here() {
    std::vector<std::string> files;
    for (const auto& [path, kind] : own_) {
      if (kind == EntryKind::kFile) files.push_back(path);
    }
    return files.empty() ? "" : random_.pick(files);
  }

  void add(const std::string& path, EntryKind kind) {
    LayerEntry entry;
    entry.layer = layer_;
    entry.path = path;
    entry.kind = kind;
    entry.target = kind == EntryKind::kSymlink ? random_target(random_) : "";
    if (kind == EntryKind::kHardLink) entry.target = random_file_here();
    if (kind == EntryKind::kHardLink && entry.target.empty()) entry.kind = EntryKind::kFile;
    fill(entry);
    own_[path] = entry.kind;
    out_.push_back(std::move(entry));
  }

  void fill(LayerEntry& entry) {
    entry.mode = random_mode(random_, entry.kind);
    if (limits_.owners && random_.chance(45)) {
      entry.uid = random_.chance(70) ? kOrdinaryUid : 1002;
      entry.gid = random_.chance(70) ? kOrdinaryGid : kSecondGid;
    }
    entry.mtime = random_mtime(random_);
    entry.data_seed = random_.next() % 100000;
    entry.length = random_.chance(15) ? 0 : random_.below(random_.chance(20) ? 20000 : 300);
    entry.hole = random_.chance(12) ? random_.between(1, 200000) : 0;
    entry.opaque = entry.kind == EntryKind::kDirectory && layer_ > 0 && random_.chance(15);
    const bool holder = entry.kind == EntryKind::kDirectory || entry.kind == EntryKind::kFile;
    if (holder) fill_xattrs(entry);
  }

  void fill_xattrs(LayerEntry& entry) {
    if (random_.chance(20)) {
      entry.xattrs.emplace_back("user.a", random_bytes(random_.next(), random_.below(40)));
    }
    if (random_.chance(6)) {
      entry.xattrs.emplace_back("user.long", random_bytes(random_.next(), 900));
    }
    if (limits_.trusted_xattrs && random_.chance(8)) entry.xattrs.emplace_back("trusted.t", "t");
    if (limits_.trusted_xattrs && entry.kind == EntryKind::kFile && random_.chance(5)) {
      entry.xattrs.emplace_back("security.capability", capability_value());
    }
    if (limits_.acls && random_.chance(8)) {
      entry.xattrs.emplace_back("system.posix_acl_access", acl_value(random_, limits_));
    }
    if (limits_.acls && entry.kind == EntryKind::kDirectory && random_.chance(8)) {
      entry.xattrs.emplace_back("system.posix_acl_default", acl_value(random_, limits_));
    }
  }

  Random& random_;
  const LayerLimits& limits_;
  std::set<std::string>& below_;  ///< every path that some lower layer has or had
  PathModel visible_below_;       ///< what the layers below show together
  std::vector<LayerEntry>& out_;
  int layer_;
  std::map<std::string, EntryKind> own_;
};

}  // namespace

const std::vector<std::string>& name_pool() {
  static const std::vector<std::string> kNames = {
      "a", "b", "c", "d", "e", "f", "x y", "\xc3\xbc\xff", ".hidden", std::string(250, 'n')};
  return kNames;
}

std::string random_target(Random& random) {
  const std::size_t roll = random.below(100);
  const std::string& name = random.pick(name_pool());
  if (roll < 35) return name;
  if (roll < 55) return random.pick(name_pool()) + "/" + name;
  if (roll < 75) return std::string{"../"}.append(name);
  if (roll < 85) return std::string{"/"}.append(name);
  if (roll < 92) return std::string{"dangling/"}.append(name);
  if (roll < 96) return ".";
  return std::string(1000, 'l');
}

std::string acl_value(Random& random, const LayerLimits& limits) {
  struct AclEntry {
    std::uint16_t tag;
    std::uint16_t permissions;
    std::uint32_t id;
  };
  constexpr std::uint32_t kNoId = 0xFFFFFFFF;
  const auto bits = [&random] { return static_cast<std::uint16_t>(random.below(8)); };
  std::vector<AclEntry> entries = {{0x01, 7, kNoId}};
  if (random.chance(70)) entries.push_back({0x02, bits(), limits.owners ? kOrdinaryUid : 0});
  entries.push_back({0x04, bits(), kNoId});
  if (random.chance(50)) entries.push_back({0x08, bits(), limits.owners ? kSecondGid : 0});
  if (entries.size() > 2) entries.push_back({0x10, bits(), kNoId});
  entries.push_back({0x20, bits(), kNoId});
  std::string bytes;
  append_little_endian(bytes, 2, 4);
  for (const AclEntry& entry : entries) {
    append_little_endian(bytes, entry.tag, 2);
    append_little_endian(bytes, entry.permissions, 2);
    append_little_endian(bytes, entry.id, 4);
  }
  return bytes;
}

std::string capability_value() {
  std::string bytes;
  append_little_endian(bytes, 0x02000001, 4);  // VFS_CAP_REVISION_2, effective
  append_little_endian(bytes, 1U << 13U, 4);   // permitted: CAP_NET_RAW
  append_little_endian(bytes, 0, 4);
  append_little_endian(bytes, 0, 4);
  append_little_endian(bytes, 0, 4);
  return bytes;
}

std::vector<LayerEntry> generate_layers(Random& random, const LayerLimits& limits) {
  std::vector<LayerEntry> entries;
  std::set<std::string> below;
  const int layers = 2 + static_cast<int>(random.below(3));
  for (int layer = 0; layer < layers; ++layer) {
    LayerMaker{random, limits, below, entries, layer}.make();
  }
  return entries;
}

}  // namespace plyfs::difftest
