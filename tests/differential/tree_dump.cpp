#include "tree_dump.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "executor.h"

namespace plyfs::difftest {
namespace {

struct Child {
  std::string name;
  ino_t inode;
  unsigned char type;
};

class Dumper {
 public:
  TreeDump run() {
    visit(".", {});
    return std::move(dump_);
  }

 private:
  void anomaly(const std::string& path, const std::string& what) {
    dump_.anomalies.push_back(what + ": " + shell_word(path));
  }
  void system_anomaly(const std::string& path, const char* call) {
    anomaly(path, std::string{call} + ": " + std::strerror(errno));
  }

  /// `listed` is what the parent's listing said of it; empty for the root.
  void visit(const std::string& path, const std::vector<Child>& listed) {
    struct stat attributes {};
    if (::lstat(path.c_str(), &attributes) != 0) return system_anomaly(path, "lstat");
    check_listed(path, attributes, listed);
    if (dump_.entries.empty()) device_ = attributes.st_dev;
    if (attributes.st_dev != device_) anomaly(path, "st_dev differs from the root's");
    TreeEntry entry;
    entry.words = stat_words(attributes);
    entry.mtime = attributes.st_mtim;
    entry.inode = attributes.st_ino;
    const auto identity = std::make_pair(attributes.st_dev, attributes.st_ino);
    entry.linked = first_names_.emplace(identity, path).first->second;
    entry.content = content_of(path, attributes);
    read_xattrs(path, entry);
    dump_.entries.emplace(path, std::move(entry));
    if (S_ISDIR(attributes.st_mode)) visit_children(path);
  }

  void check_listed(const std::string& path, const struct stat& attributes,
                    const std::vector<Child>& listed) {
    for (const Child& child : listed) {
      if (child.inode != attributes.st_ino) anomaly(path, "d_ino differs from st_ino");
      if (child.type != IFTODT(attributes.st_mode)) anomaly(path, "d_type is wrong");
    }
  }

  std::string content_of(const std::string& path, const struct stat& attributes) {
    if (S_ISLNK(attributes.st_mode)) {
      std::string target(PATH_MAX, '\0');
      const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
      if (length < 0) system_anomaly(path, "readlink");
      return length < 0 ? "" : target.substr(0, static_cast<std::size_t>(length));
    }
    return S_ISREG(attributes.st_mode) ? file_digest(path, attributes) : "";
  }

  std::string file_digest(const std::string& path, const struct stat& attributes) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0) {
      system_anomaly(path, "open");
      return "";
    }
    std::string bytes(static_cast<std::size_t>(attributes.st_size) + 1, '\0');
    std::size_t length = 0;
    for (ssize_t got = 1; got > 0 && length < bytes.size();) {
      got = ::read(descriptor, bytes.data() + length, bytes.size() - length);
      if (got < 0) system_anomaly(path, "read");
      if (got > 0) length += static_cast<std::size_t>(got);
    }
    ::close(descriptor);
    if (length != static_cast<std::size_t>(attributes.st_size)) anomaly(path, "size is wrong");
    return digest({bytes.data(), length});
  }

  void read_xattrs(const std::string& path, TreeEntry& entry) {
    names_.resize(1U << 16U);
    const ssize_t length = ::llistxattr(path.c_str(), names_.data(), names_.size());
    if (length < 0) return system_anomaly(path, "llistxattr");
    for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
      const std::string name = names_.c_str() + at;
      at += name.size() + 1;
      value_.resize(1U << 16U);
      const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value_.data(), value_.size());
      if (size < 0) {
        system_anomaly(path, "lgetxattr of a listed name");
        continue;
      }
      entry.xattrs[name] = value_.substr(0, static_cast<std::size_t>(size));
    }
  }

  void visit_children(const std::string& path) {
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return system_anomaly(path, "opendir");
    std::map<std::string, std::vector<Child>> children;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = static_cast<const char*>(entry->d_name);
      if (name != "." && name != "..") {
        children[name].push_back({name, entry->d_ino, entry->d_type});
      }
      errno = 0;
    }
    if (errno != 0) system_anomaly(path, "readdir");
    ::closedir(directory);
    for (const auto& [name, listed] : children) {
      const std::string child = path == "." ? name : path + "/" + name;
      if (listed.size() > 1) anomaly(child, "listed more than once");
      visit(child, listed);
    }
  }

  TreeDump dump_;
  std::map<std::pair<dev_t, ino_t>, std::string> first_names_;
  dev_t device_ = 0;
  std::string names_;
  std::string value_;
};

}  // namespace

TreeDump dump_tree(const Side& side) {
  if (const int error = side.enter(); error != 0) {
    TreeDump dump;
    dump.anomalies.push_back(std::string{"cannot enter the root: "} + std::strerror(error));
    return dump;
  }
  return Dumper{}.run();
}

}  // namespace plyfs::difftest
