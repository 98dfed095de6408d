#include "layers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "operations.h"

namespace plyfs::difftest {
namespace {

std::string failure(const std::string& what, const std::string& path) {
  return what + ": " + path + ": " + std::strerror(errno);
}

std::string prefix_of(const LayerLimits& limits) {
  return limits.trusted_xattrs ? "trusted.overlay." : "user.overlay.";
}

bool set_marker(const std::string& path, const LayerLimits& limits, const char* name,
                const std::string& value) {
  const std::string full = prefix_of(limits) + name;
  return ::lsetxattr(path.c_str(), full.c_str(), value.data(), value.size(), 0) == 0;
}

std::string make_file(const LayerEntry& entry, const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return failure("create", path);
  const std::string bytes = random_bytes(entry.data_seed, entry.length);
  const bool written = ::ftruncate(descriptor, entry.hole) == 0 &&
                       ::pwrite(descriptor, bytes.data(), bytes.size(), entry.hole) ==
                           static_cast<ssize_t>(bytes.size());
  ::close(descriptor);
  return written ? "" : failure("write", path);
}

std::string make_node(const std::string& path, mode_t mode, dev_t device) {
  return ::mknod(path.c_str(), mode, device) == 0 ? "" : failure("mknod", path);
}

std::string make_xattr_whiteout(const std::string& path, const LayerLimits& limits) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return failure("create", path);
  ::close(descriptor);
  const std::string parent = path.substr(0, path.rfind('/'));
  const bool marked = set_marker(path, limits, "whiteout", "y");
  // A directory that is opaque already hides more than an xattr whiteout could.
  const std::string name = prefix_of(limits) + "opaque";
  const bool opaque = ::lsetxattr(parent.c_str(), name.c_str(), "x", 1, XATTR_CREATE) == 0;
  return marked && (opaque || errno == EEXIST) ? "" : failure("mark a whiteout", path);
}

std::string create(const LayerEntry& entry, const std::string& layer, const std::string& path,
                   const LayerLimits& limits) {
  switch (entry.kind) {
    case EntryKind::kDirectory:
      return ::mkdir(path.c_str(), 0700) == 0 ? "" : failure("mkdir", path);
    case EntryKind::kFile:
      return make_file(entry, path);
    case EntryKind::kSymlink:
      return ::symlink(entry.target.c_str(), path.c_str()) == 0 ? "" : failure("symlink", path);
    case EntryKind::kFifo:
      return make_node(path, S_IFIFO | 0600, 0);
    case EntryKind::kSocket:
      return make_node(path, S_IFSOCK | 0600, 0);
    case EntryKind::kDevice:
      return make_node(path, S_IFCHR | 0600, makedev(240, 7));
    case EntryKind::kWhiteout:
      return make_node(path, S_IFCHR, makedev(0, 0));
    case EntryKind::kXattrWhiteout:
      return make_xattr_whiteout(path, limits);
    case EntryKind::kHardLink: {
      const std::string target = layer + "/" + entry.target;
      if (::link(target.c_str(), path.c_str()) == 0) return "";
      // A minimised case may lack the target.
      return errno == ENOENT ? make_file(entry, path) : failure("link", path);
    }
  }
  return "unknown kind";
}

bool has_attributes(EntryKind kind) {
  return kind != EntryKind::kHardLink && kind != EntryKind::kWhiteout &&
         kind != EntryKind::kXattrWhiteout;
}

/// Everything but times, which later entries of a directory would change.
std::string decorate(const LayerEntry& entry, const std::string& path, const LayerLimits& limits) {
  if (!has_attributes(entry.kind)) return "";
  if (::lchown(path.c_str(), entry.uid, entry.gid) != 0) return failure("chown", path);
  if (entry.kind != EntryKind::kSymlink && ::chmod(path.c_str(), entry.mode) != 0) {
    return failure("chmod", path);
  }
  for (const auto& [name, value] : entry.xattrs) {
    if (::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) != 0) {
      return failure("setxattr " + name, path);
    }
  }
  if (entry.opaque && !set_marker(path, limits, "opaque", "y")) return failure("opaque", path);
  return "";
}

bool set_mtime(const std::string& path, timespec mtime) {
  const std::array<timespec, 2> times = {mtime, mtime};
  return ::utimensat(AT_FDCWD, path.c_str(), times.data(), AT_SYMLINK_NOFOLLOW) == 0;
}

constexpr timespec kOldTime{1000000000, 0};

/// The parents that a minimised case has lost; their times are fixed as the others' are.
void make_parents(const std::string& layer, const std::string& path,
                  std::map<std::string, timespec>& times) {
  for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string parent = layer + "/" + path.substr(0, at);
    if (::mkdir(parent.c_str(), 0755) == 0) times.emplace(parent, kOldTime);
  }
}

}  // namespace

int layer_count(const std::vector<LayerEntry>& entries) {
  int count = 1;
  for (const LayerEntry& entry : entries) count = std::max(count, entry.layer + 1);
  return count;
}

std::string build_layers(const std::vector<LayerEntry>& entries, const std::string& root,
                         const LayerLimits& limits) {
  const mode_t umask_before = ::umask(0);
  std::map<std::string, timespec> times;
  for (int i = 0; i < layer_count(entries); ++i) {
    const std::string layer = root + "/" + std::to_string(i);
    if (::mkdir(layer.c_str(), 0755) != 0) return failure("mkdir", layer);
    times.emplace(layer, kOldTime);
  }
  for (const LayerEntry& entry : entries) {
    const std::string layer = root + "/" + std::to_string(entry.layer);
    const std::string path = layer + "/" + entry.path;
    make_parents(layer, entry.path, times);
    if (std::string error = create(entry, layer, path, limits); !error.empty()) return error;
    if (std::string error = decorate(entry, path, limits); !error.empty()) return error;
    times[path] = has_attributes(entry.kind) ? entry.mtime : kOldTime;
  }
  // Children before parents does not matter: setting times changes no parent.
  for (const auto& [path, mtime] : times) {
    if (!set_mtime(path, mtime)) return failure("utimensat", path);
  }
  ::umask(umask_before);
  return "";
}

std::string describe(const LayerEntry& entry) {
  static constexpr std::array<const char*, 9> kKinds = {
      "mkdir", "file", "symlink", "fifo", "socket", "device", "link", "whiteout", "xattr-whiteout"};
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), " mode=%04o owner=%u:%u", entry.mode, entry.uid,
                entry.gid);
  std::string line = "lower" + std::to_string(entry.layer) + ": " +
                     kKinds[static_cast<std::size_t>(entry.kind)] + " " + shell_word(entry.path);
  if (entry.kind == EntryKind::kHardLink || entry.kind == EntryKind::kSymlink) {
    line += " -> " + shell_word(entry.target);
  }
  if (has_attributes(entry.kind)) line += text.data();
  if (entry.kind == EntryKind::kFile) {
    line += " hole=" + std::to_string(entry.hole) + " length=" + std::to_string(entry.length);
  }
  if (entry.opaque) line += " opaque";
  for (const auto& [name, value] : entry.xattrs) line += " " + name + "=" + shell_word(value);
  return line;
}

}  // namespace plyfs::difftest
