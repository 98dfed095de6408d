#include "ops/test_mount.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "catch.h"
#include "sys/creds.h"
#include "sys/dir_ops.h"
#include "sys/open.h"

namespace plyfs::test {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} << 10U;
constexpr std::size_t kShownBytes = 40;

class NameCollector : public ops::DirectorySink {
 public:
  bool add(const char* name, std::uint64_t /*ino*/, std::uint8_t /*entry_type*/,
           std::uint64_t /*offset*/) override {
    if (std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0) {
      names.emplace_back(name);
    }
    return true;
  }
  bool add_plus(const char* name, ops::Entry* /*entry*/, std::uint64_t ino, std::uint8_t type,
                std::uint64_t offset) override {
    return add(name, ino, type, offset);
  }
  std::vector<std::string> names;
};

std::string shown(const std::string& data) {
  return data.size() <= kShownBytes
             ? data
             : std::to_string(data.size()) + "#" + std::to_string(std::hash<std::string>{}(data));
}

layer::Layer opened_layer(const std::string& path) {
  layer::Layer layer;
  auto root = sys::open_directory_path(path.c_str());
  REQUIRE(root);
  layer.root = *std::move(root);
  layer.path = path;
  REQUIRE(layer::examine(layer, layer::mark_rules(XattrNamespace::kProbe)));
  return layer;
}

sys::UniqueFd opened(const std::string& path) {
  const auto handle = sys::open_directory_path(path.c_str());
  REQUIRE(handle);
  auto listing = sys::open_listing({handle->borrow(), ""});
  REQUIRE(listing);
  return *std::move(listing);
}

/// Where user.* xattrs can be had, which /tmp may lack.
std::filesystem::path room() {
  return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

}  // namespace

std::string outcome(const Status& status) {
  return status ? "ok" : ::strerrorname_np(status.error().value());
}

std::string difference(const Tree& before, const Tree& after) {
  std::string text;
  for (const auto& [path, what] : before) {
    const auto found = after.find(path);
    if (found == after.end() || found->second != what) {
      text += "- " + path + " " + what + "\n";
    }
  }
  for (const auto& [path, what] : after) {
    const auto found = before.find(path);
    if (found == before.end() || found->second != what) {
      text += "+ " + path + " " + what + "\n";
    }
  }
  return text;
}

TestMount::TestMount(MountKind kind, unsigned lowers) : kind_(kind), space_(room()) {
  (void)::umask(022);  // a mount changes it for itself
  caller.uid = ::geteuid();
  caller.gid = ::getegid();
  for (unsigned index = 0; index <= lowers; ++index) {
    layers_.push_back(space_.make_directory("layer" + std::to_string(index)));
  }
  (void)space_.make_directory("work");
}

TestMount::~TestMount() { stop(); }

std::string TestMount::layer(unsigned index, const std::string& path) const {
  return path.empty() ? layers_[index] : layers_[index] + "/" + path;
}

std::string TestMount::work(const std::string& path) const {
  return space_.path(path.empty() ? "work" : "work/" + path);
}

void TestMount::start() {
  std::vector<layer::Layer> layers;
  for (const std::string& path : layers_) {
    layers.push_back(opened_layer(path));
  }
  copyup::Policy policy;
  policy.privileges = sys::current_privileges();
  ops::Foundation made;
  made.stack =
      layer::LayerStack{std::move(layers), Xino::kAuto, layer::mark_rules(XattrNamespace::kProbe)};
  made.writer = std::make_unique<layer::UpperWriter>(policy.privileges.dac_override
                                                         ? layer::UpperWriter::Rights::kPrivileged
                                                         : layer::UpperWriter::Rights::kOwnerOnly);
  auto workdir = layer::Workdir::open(opened(work()), opened(layers_[0]), *made.writer);
  REQUIRE(workdir);
  made.workdir = std::make_unique<layer::Workdir>(*std::move(workdir));
  auto abilities = layer::probe_upper(*made.workdir, kind_.whiteouts, XattrNamespace::kProbe,
                                      made.stack.rules());
  REQUIRE(abilities);
  abilities->exchange = abilities->exchange && kind_.exchange;
  abilities->rename_whiteout = abilities->rename_whiteout && kind_.rename_whiteout;
  policy.marks = abilities->marks;
  made.redirect = policy.marks.has_value();
  made.metacopy = kind_.metacopy && policy.marks;
  made.index = kind_.index && policy.marks && made.workdir->open_index();
  made.whiteouts =
      std::make_unique<layer::Whiteouts>(*made.workdir, made.stack[layer::kUpper], *abilities);
  made.engine = std::make_unique<copyup::Engine>(*made.workdir, policy);
  writer_ = made.writer.get();
  workdir_ = made.workdir.get();
  auto fs = ops::FileSystem::make(std::move(made));
  REQUIRE(fs);
  fs_ = *std::move(fs);
  REQUIRE(fs_->start());
}

void TestMount::stop() {
  if (fs_) {
    fs_->shut_down();
    fs_.reset();
    writer_ = nullptr;
  }
}

Result<node::NodeRef> TestMount::walk(const std::string& path) {
  node::NodeRef at;
  std::size_t begin = 0;
  while (begin < path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    node::Node& parent = at ? *at : fs_->root();
    ops::Entry entry = TRY(fs_->lookup(parent, path.substr(begin, end - begin).c_str()));
    at = std::move(entry.node);
    begin = end + 1;
  }
  return at;
}

Result<TestMount::Place> TestMount::place(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  Place place;
  if (slash != std::string::npos) {
    place.parent = TRY(walk(path.substr(0, slash)));
  }
  place.name = slash == std::string::npos ? path : path.substr(slash + 1);
  return place;
}

namespace {

node::Node& node_of(ops::FileSystem& fs, const node::NodeRef& ref) {
  return ref ? *ref : fs.root();
}

}  // namespace

Result<FileStat> TestMount::stat(const std::string& path) {
  const node::NodeRef node = TRY(walk(path));
  return fs_->getattr(node_of(*fs_, node));
}

void TestMount::describe(const std::string& path, node::Node& node, Tree& tree) {
  const auto stat = fs_->getattr(node);
  if (!stat) {
    tree[path] = outcome(stat);
    return;
  }
  char text[96];
  (void)std::snprintf(text, sizeof text, "%06o %u:%u ino=%llu", stat->mode, stat->uid, stat->gid,
                      static_cast<unsigned long long>(stat->ino));
  std::string line = text;
  if (!stat->is_directory()) {
    line += " links=" + std::to_string(stat->nlink);
  }
  if (stat->is_regular()) {
    line += " size=" + std::to_string(stat->size_bytes) + " " + shown(read(node));
  } else if (stat->is_symlink()) {
    line += " -> " + fs_->readlink(node).value_or("?");
  }
  const auto names = fs_->listxattr(caller, node);
  for (std::size_t at = 0; names && at < names->size(); at += std::strlen(&(*names)[at]) + 1) {
    char value[64];
    const auto size = fs_->getxattr(node, &(*names)[at], value, sizeof value);
    line += std::string{" "} + &(*names)[at] + "=" + std::string(value, size.value_or(0));
  }
  tree[path] = line;
  if (!stat->is_directory()) {
    return;
  }
  NameCollector collected;
  const Status listed = fs_->readdir(node, 0, Plus::kNo, collected);
  if (!listed) {
    tree[path] += " listing: " + outcome(listed);
  }
  for (const std::string& name : collected.names) {
    const std::string below = path.empty() ? name : path + "/" + name;
    auto entry = fs_->lookup(node, name.c_str());
    if (entry) {
      describe(below, *entry->node, tree);
    } else {
      tree[below] = "listed, but " + outcome(entry);
    }
  }
}

Tree TestMount::tree() {
  Tree tree;
  describe("", fs_->root(), tree);
  return tree;
}

std::string TestMount::create(const std::string& path, std::string_view content, mode_t mode) {
  const auto at = place(path);
  if (!at) {
    return outcome(at);
  }
  const auto made = fs_->create(caller, node_of(*fs_, at->parent), at->name.c_str(), mode);
  return made && !content.empty() ? write(*made->node, content) : outcome(made);
}

std::string TestMount::mkdir(const std::string& path, mode_t mode) {
  const auto at = place(path);
  return at ? outcome(fs_->mkdir(caller, node_of(*fs_, at->parent), at->name.c_str(), mode))
            : outcome(at);
}

std::string TestMount::mknod(const std::string& path, mode_t mode) {
  const auto at = place(path);
  return at ? outcome(fs_->mknod(caller, node_of(*fs_, at->parent), at->name.c_str(), mode, 0))
            : outcome(at);
}

std::string TestMount::symlink(const std::string& target, const std::string& path) {
  const auto at = place(path);
  return at ? outcome(
                  fs_->symlink(caller, target.c_str(), node_of(*fs_, at->parent), at->name.c_str()))
            : outcome(at);
}

std::string TestMount::link(const std::string& from, const std::string& to) {
  const auto node = walk(from);
  const auto at = place(to);
  return node && at ? outcome(fs_->link(**node, node_of(*fs_, at->parent), at->name.c_str()))
                    : outcome(node ? Status{at.error()} : Status{node.error()});
}

std::string TestMount::unlink(const std::string& path) {
  const auto at = place(path);
  return at ? outcome(fs_->unlink(node_of(*fs_, at->parent), at->name.c_str())) : outcome(at);
}

std::string TestMount::rmdir(const std::string& path) {
  const auto at = place(path);
  return at ? outcome(fs_->rmdir(node_of(*fs_, at->parent), at->name.c_str())) : outcome(at);
}

std::string TestMount::rename(const std::string& from, const std::string& to, unsigned flags) {
  const auto old = place(from);
  const auto at = place(to);
  if (!old || !at) {
    return outcome(old ? Status{at.error()} : Status{old.error()});
  }
  return outcome(fs_->rename(node_of(*fs_, old->parent), old->name.c_str(),
                             node_of(*fs_, at->parent), at->name.c_str(), flags));
}

std::string TestMount::chmod(const std::string& path, mode_t mode) {
  const auto node = walk(path);
  AttrChange change;
  change.mode = mode;
  return node ? outcome(fs_->setattr(caller, node_of(*fs_, *node), change)) : outcome(node);
}

std::string TestMount::truncate(const std::string& path, std::int64_t size_bytes) {
  const auto node = walk(path);
  AttrChange change;
  change.size_bytes = size_bytes;
  return node ? outcome(fs_->setattr(caller, **node, change)) : outcome(node);
}

std::string TestMount::chown(const std::string& path, uid_t uid) {
  const auto node = walk(path);
  AttrChange change;
  change.uid = uid;
  change.kill_suid_sgid = true;
  return node ? outcome(fs_->setattr(caller, node_of(*fs_, *node), change)) : outcome(node);
}

std::string TestMount::fallocate(const std::string& path, std::int64_t size_bytes) {
  const auto node = walk(path);
  const WriteRequest request{.offset = 0,
                             .size_bytes = static_cast<std::size_t>(size_bytes),
                             .origin = WriteOrigin::kPageCache};
  return node ? outcome(fs_->fallocate(caller, **node, 0, request)) : outcome(node);
}

std::string TestMount::write(node::Node& node, std::string_view data) {
  return outcome(fs_->write(caller, node, data.data(), {.offset = 0, .size_bytes = data.size()}));
}

std::string TestMount::write(const std::string& path, std::string_view data) {
  const auto node = walk(path);
  return node ? write(**node, data) : outcome(node);
}

std::string TestMount::setxattr(const std::string& path, const char* name, std::string_view value) {
  const auto node = walk(path);
  return node ? outcome(fs_->setxattr(caller, node_of(*fs_, *node), name, value, 0))
              : outcome(node);
}

std::string TestMount::removexattr(const std::string& path, const char* name) {
  const auto node = walk(path);
  return node ? outcome(fs_->removexattr(node_of(*fs_, *node), name)) : outcome(node);
}

std::string TestMount::readlink(const std::string& path) {
  const auto node = walk(path);
  return node ? fs_->readlink(**node).value_or("?") : outcome(node);
}

std::string TestMount::read(node::Node& node) {
  std::string data(kReadBytes, '\0');
  const auto size = fs_->read(node, data.data(), data.size(), 0);
  data.resize(size.value_or(0));
  return size ? data : "<" + outcome(size) + ">";
}

std::string TestMount::read(const std::string& path) {
  const auto node = walk(path);
  return node ? read(**node) : outcome(node);
}

}  // namespace plyfs::test
