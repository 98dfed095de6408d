#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <set>
#include <stdexcept>

#include "call.h"

namespace plyfs::tests {
namespace {

using Kind = Item::Kind;

Item make(Kind kind, std::string path, std::string text, mode_t mode) {
  Item item;
  item.kind = kind;
  item.path = std::move(path);
  item.text = std::move(text);
  item.mode = mode;
  return item;
}

void must(const std::string& result, const std::string& what) {
  if (result != "ok") {
    throw std::runtime_error("cannot build the layers: " + what + ": " + result);
  }
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string path_of(const std::string& parent, const std::string& name) {
  return parent.empty() ? name : parent + "/" + name;
}

class Builder {
 public:
  Builder(const std::string& root, const std::string& prefix) : root_(root), prefix_(prefix) {}

  void add(const Item& item) {
    make_parents(item.path);
    place(item);
    finish(item);
  }

  void set_times() const {
    for (auto made = made_.rbegin(); made != made_.rend(); ++made) {
      must(call::utimens(at(made->first), made->second, made->second), made->first);
    }
    // A directory that is closed to its owner is closed last, from below.
    for (auto closed = directory_modes_.rbegin(); closed != directory_modes_.rend(); ++closed) {
      must(call::chmod(at(closed->first), closed->second), closed->first);
    }
  }

 private:
  [[nodiscard]] std::string at(const std::string& path) const { return root_ + "/" + path; }

  void make_parents(const std::string& path) {
    const std::string parent = parent_of(path);
    if (parent.empty() || exists(at(parent))) {
      return;
    }
    make_parents(parent);
    must(call::mkdir(at(parent), 0755), parent);
    made_.emplace_back(parent, kOldTime);
  }

  void place(const Item& item) {
    const std::string path = at(item.path);
    switch (item.kind) {
      case Kind::kFile:
        return must(call::create(path, item.text), path);
      case Kind::kDir:
        return exists(path) ? void() : must(call::mkdir(path), path);
      case Kind::kSymlink:
        return must(call::symlink(item.text, path), path);
      case Kind::kSpecial:
        return must(call::mknod(path, item.mode, item.device), path);
      case Kind::kHardlink:
        return must(call::link(at(item.text), path), path);
      case Kind::kWhiteout:
        return must(call::mknod(path, S_IFCHR, 0), path);
      case Kind::kXattrWhiteout:
        must(call::create(path), path);
        must(call::setxattr(path, prefix_ + "whiteout", "y"), path);
        return must(call::setxattr(at(parent_of(item.path)), prefix_ + "opaque", "x"), path);
      case Kind::kAufsWhiteout:
        return must(call::create(at(path_of(parent_of(item.path), ".wh." + name_of(item.path)))),
                    path);
      case Kind::kOpaque:
        if (!exists(path)) {
          must(call::mkdir(path), path);
        }
        return must(call::setxattr(path, item.text.empty() ? prefix_ + "opaque" : item.text, "y"),
                    path);
      case Kind::kAufsOpaque:
        if (!exists(path)) {
          must(call::mkdir(path), path);
        }
        return must(call::create(path + "/.wh..wh..opq"), path);
    }
  }

  void finish(const Item& item) {
    const std::string path = at(item.path);
    if (item.kind == Kind::kHardlink || item.kind == Kind::kAufsWhiteout) {
      return;
    }
    if (item.size) {
      must(call::truncate(path, *item.size), path);
    }
    if (item.owner) {
      must(call::chown(path, item.owner->first, item.owner->second), path);
    }
    if (item.kind == Kind::kDir) {
      directory_modes_[item.path] = item.mode & 07777U;
    } else if (item.kind == Kind::kFile || item.kind == Kind::kSpecial) {
      must(call::chmod(path, item.mode & 07777U), path);
    }
    for (const auto& [name, value] : item.xattrs) {
      must(call::setxattr(path, name, value), path + " " + name);
    }
    made_.emplace_back(item.path, item.mtime);
  }

  const std::string& root_;
  const std::string& prefix_;
  std::vector<std::pair<std::string, timespec>> made_;
  std::map<std::string, mode_t> directory_modes_;
};

bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.compare(0, directory.size(), directory) == 0 &&
         path[directory.size()] == '/';
}

using View = std::map<std::string, Item>;

void hide_below(View& view, const std::string& path) {
  std::erase_if(view, [&](const auto& entry) { return is_below(entry.first, path); });
}

void put(View& view, const Item& item) {
  for (std::string up = parent_of(item.path); !up.empty(); up = parent_of(up)) {
    const auto found = view.find(up);
    if (found != view.end() && found->second.kind != Kind::kDir) {
      view.erase(found);  // a directory over something else: the parents are made anew
    }
  }
  view.insert_or_assign(item.path, item);
}

void apply(View& view, const Item& item) {
  switch (item.kind) {
    case Kind::kWhiteout:
    case Kind::kXattrWhiteout:
    case Kind::kAufsWhiteout:
      if (const std::string parent = parent_of(item.path);
          !parent.empty() && view.find(parent) == view.end()) {
        put(view, dir(parent));  // the marker's own layer has it
      }
      view.erase(item.path);
      return hide_below(view, item.path);
    case Kind::kOpaque:
    case Kind::kAufsOpaque:
      hide_below(view, item.path);
      return put(view, dir(item.path));
    case Kind::kDir:
      return put(view, item);
    default:
      hide_below(view, item.path);
      return put(view, item);
  }
}

std::string digest(const std::string& data) {
  const std::size_t hash = std::hash<std::string>{}(data);
  return "#" + std::to_string(data.size()) + ":" + std::to_string(hash);
}

std::string short_content(const std::string& path) {
  const std::string data = content(path);
  return data.size() <= 64 ? data : digest(data);
}

std::string numbers(dev_t device) {
  return std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

std::string line(const std::string& root, const std::string& path) {
  const std::string full = root + "/" + path;
  struct stat info = {};
  if (::lstat(full.c_str(), &info) != 0) {
    return path + "?" + outcome(-1);
  }
  switch (info.st_mode & S_IFMT) {
    case S_IFDIR:
      return path + "/";
    case S_IFREG:
      return path + "=" + short_content(full);
    case S_IFLNK:
      return path + "->" + link_target(full);
    case S_IFIFO:
      return path + "|";
    case S_IFSOCK:
      return path + "^";
    case S_IFCHR:
      return path + "%" + numbers(info.st_rdev);
    default:
      return path + "#" + numbers(info.st_rdev);
  }
}

bool is_directory(const std::string& path) {
  struct stat info = {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

template <typename Visit>
void walk(const std::string& root, const std::string& below, const Visit& visit) {
  for (const std::string& name : sorted_names_in(path_of(root, below))) {
    const std::string path = path_of(below, name);
    visit(path);
    if (is_directory(root + "/" + path)) {
      walk(root, path, visit);
    }
  }
}

bool has_mark(const std::string& path, const std::string& mark, const std::string& value = {}) {
  for (const char* prefix : {"trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."}) {
    const std::string found = xattr(path, prefix + mark);
    if (found.empty() || found.front() != '<') {
      return value.empty() || found == value;
    }
  }
  return false;
}

std::string upper_line(const std::string& root, const std::string& path) {
  const std::string full = root + "/" + path;
  const std::string name = name_of(path);
  std::string text = line(root, path);
  if (text.ends_with("%0:0") || has_mark(full, "whiteout")) {
    return path + " (whiteout)";
  }
  if (name.starts_with(".wh.")) {
    return path_of(parent_of(path), name.substr(4)) + " (whiteout)";
  }
  if (has_mark(full, "opaque", "y") || exists(full + "/.wh..wh..opq")) {
    text += " (opaque)";
  }
  if (has_mark(full, "metacopy")) {
    text = path + " (metacopy)";
  } else if (is_directory(full) && has_mark(full, "redirect")) {
    text += " (redirect)";
  }
  return text;
}

void cut_mtime(std::string& text) {
  const std::size_t at = text.find(" mtime=");
  if (at != std::string::npos) {
    const std::size_t end = text.find(' ', at + 1);
    text.erase(at, end == std::string::npos ? std::string::npos : end - at);
  }
}

std::string describe(const std::string& full) {
  struct stat info = {};
  if (::lstat(full.c_str(), &info) != 0) {
    return outcome(-1);
  }
  char text[128];
  const bool directory = S_ISDIR(info.st_mode);
  (void)std::snprintf(text, sizeof(text), "%06o %u:%u links=%lu", info.st_mode, info.st_uid,
                      info.st_gid, directory ? 0UL : static_cast<unsigned long>(info.st_nlink));
  std::string all = text;
  all += " mtime=" + std::to_string(nanoseconds(info.st_mtim));
  if (S_ISREG(info.st_mode)) {
    all += " size=" + std::to_string(info.st_size) + " " + short_content(full);
  } else if (S_ISLNK(info.st_mode)) {
    all += " ->" + link_target(full);
  } else if (!directory) {
    all += " rdev=" + numbers(info.st_rdev);
  }
  for (const std::string& name : xattr_names(full)) {
    all += " " + name + "=" + digest(xattr(full, name));
  }
  return all;
}

}  // namespace

Item Item::with_mode(mode_t bits) && {
  mode = (mode & S_IFMT) | bits;
  return std::move(*this);
}

Item Item::with_owner(uid_t uid, gid_t gid) && {
  owner = {uid, gid};
  return std::move(*this);
}

Item Item::with_xattr(std::string name, std::string value) && {
  xattrs.emplace_back(std::move(name), std::move(value));
  return std::move(*this);
}

Item Item::with_mtime(timespec time) && {
  mtime = time;
  return std::move(*this);
}

Item Item::with_size(off_t bytes) && {
  size = bytes;
  return std::move(*this);
}

Item file(std::string path, std::string content) {
  return make(Kind::kFile, std::move(path), std::move(content), 0644);
}
Item dir(std::string path) { return make(Kind::kDir, std::move(path), {}, 0755); }
Item symlink(std::string path, std::string target) {
  return make(Kind::kSymlink, std::move(path), std::move(target), 0777);
}
Item fifo(std::string path) { return make(Kind::kSpecial, std::move(path), {}, S_IFIFO | 0644U); }
Item socket_node(std::string path) {
  return make(Kind::kSpecial, std::move(path), {}, S_IFSOCK | 0644U);
}
Item device(std::string path, mode_t type, unsigned major_number, unsigned minor_number) {
  Item item = make(Kind::kSpecial, std::move(path), {}, type | 0644U);
  item.device = makedev(major_number, minor_number);
  return item;
}
Item hardlink(std::string path, std::string to) {
  return make(Kind::kHardlink, std::move(path), std::move(to), 0);
}
Item whiteout(std::string path) { return make(Kind::kWhiteout, std::move(path), {}, 0); }
Item xattr_whiteout(std::string path) { return make(Kind::kXattrWhiteout, std::move(path), {}, 0); }
Item aufs_whiteout(std::string path) { return make(Kind::kAufsWhiteout, std::move(path), {}, 0); }
Item opaque(std::string path, std::string xattr_name) {
  return make(Kind::kOpaque, std::move(path), std::move(xattr_name), 0755);
}
Item aufs_opaque(std::string path) { return make(Kind::kAufsOpaque, std::move(path), {}, 0755); }

void make_tree(const std::string& root, const Items& items, const std::string& prefix) {
  Builder builder(root, prefix);
  for (const Item& item : items) {
    builder.add(item);
  }
  builder.set_times();
}

Items merged(const std::vector<Items>& layers) {
  View view;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    // Markers speak about the layers below, whatever their place in the picture.
    for (const bool markers : {true, false}) {
      for (const Item& item : *layer) {
        const bool is_marker = item.kind >= Kind::kWhiteout;
        if (is_marker == markers) {
          apply(view, item);
        }
      }
    }
  }
  Items items;
  for (const bool links : {false, true}) {
    for (const auto& [path, item] : view) {
      if ((item.kind == Kind::kHardlink) == links) {
        items.push_back(item);
      }
    }
  }
  return items;
}

Picture picture(const std::string& root) {
  Picture lines;
  walk(root, "", [&](const std::string& path) { lines.push_back(line(root, path)); });
  std::sort(lines.begin(), lines.end());
  return lines;
}

Picture upper_picture(const std::string& root) {
  Picture lines;
  walk(root, "", [&](const std::string& path) {
    if (name_of(path) != ".wh..wh..opq") {
      lines.push_back(upper_line(root, path));
    }
  });
  std::sort(lines.begin(), lines.end());
  return lines;
}

Dump full_dump(const std::string& root) {
  Dump dump;
  dump["."] = describe(root);
  walk(root, "", [&](const std::string& path) { dump[path] = describe(root + "/" + path); });
  return dump;
}

Dump dump_without_directory_times(const std::string& root) {
  Dump dump = full_dump(root);
  for (auto& [path, text] : dump) {
    if (text.starts_with("04")) {
      cut_mtime(text);
    }
  }
  return dump;
}

Dump dump_without_times(const std::string& root) {
  Dump dump = full_dump(root);
  for (auto& [path, text] : dump) {
    cut_mtime(text);
  }
  return dump;
}

std::string difference(const Dump& before, const Dump& after) {
  std::string text;
  for (const auto& [path, line_before] : before) {
    const auto found = after.find(path);
    if (found == after.end() || found->second != line_before) {
      text += "- " + path + ": " + line_before + "\n";
    }
  }
  for (const auto& [path, line_after] : after) {
    const auto found = before.find(path);
    if (found == before.end() || found->second != line_after) {
      text += "+ " + path + ": " + line_after + "\n";
    }
  }
  return text;
}

void remove_tree(const std::string& root) {
  if (is_directory(root)) {
    (void)::chmod(root.c_str(), 0700);
    for (const std::string& name : names_in(root)) {
      remove_tree(root + "/" + name);
    }
    (void)::rmdir(root.c_str());
    return;
  }
  (void)::unlink(root.c_str());
}

}  // namespace plyfs::tests
