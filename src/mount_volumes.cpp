#include "mount_volumes.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/log.h"
#include "base/path_components.h"
#include "fuse/serve.h"
#include "sys/dir_ops.h"
#include "sys/fuse_device.h"
#include "sys/layer_root.h"
#include "sys/mount_tree.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"
#include "sys/proc_path.h"

namespace plyfs {
namespace {

constexpr mode_t kMadeUpMode = 0755;
constexpr mode_t kCreatedMode = 0755;

bool fail(Failure& failure, const std::string& what, const std::string& path, Errno error,
          const std::string& remedy) {
  failure = {what + ": " + log::printable(path) + ": " + error.message() + "; " + remedy,
             kMountFailed};
  return false;
}

/// What is mounted is this descriptor, whatever becomes of the path: who may write to the volume
/// can put a link to the host's /etc where the subpath was.
Result<sys::UniqueFd> open_source(const VolumeMount& asked) {
  if (asked.name.empty()) {
    return sys::open_path(asked.source.c_str());
  }
  const std::size_t slash = asked.source.rfind('/');
  const auto directory = TRY(sys::open_directory_path(asked.source.substr(0, slash).c_str()));
  auto data = TRY(sys::open_directory_at(directory.borrow(), asked.source.c_str() + slash + 1));
  return asked.subpath.empty() ? std::move(data)
                               : sys::open_inside(data.borrow(), asked.subpath.c_str());
}

bool fail_source(Failure& failure, const VolumeMount& asked, Errno error) {
  if (!asked.subpath.empty()) {
    return fail(failure, "cannot use the subpath of volume " + asked.name, asked.subpath, error,
                "create it in the volume first");
  }
  return fail(failure, "cannot open volume", asked.source, error,
              asked.name.empty() ? "create it, or correct the path"
                                 : "it is a directory of the store, not a link: put it back");
}

}  // namespace

/// The way to a mount point, through the merged tree and the volumes placed before. Links are
/// followed inside the tree only: they are read and resolved here, never by the kernel.
class MountVolumes::Walk {
 public:
  Walk(MountVolumes& volumes, const Surroundings& around) : v_(volumes), around_(around) {
    reset();
  }

  /// Leads to the directory in which the last component lies.
  Status go(const std::string& destination) {
    std::deque<std::string> rest = path_components(destination);
    while (!rest.empty()) {
      const std::string name = std::move(rest.front());
      rest.pop_front();
      TRY(step(name, rest));
    }
    return name_.empty() ? Status{Errno{EBUSY}} : Status{};
  }

  [[nodiscard]] volume::DirectoryId parent() const { return stack_.back().id; }
  [[nodiscard]] volume::VolumeNode* parent_volume() const { return stack_.back().in_volume; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string path() const {
    std::string path;
    for (const Place& place : stack_) {
      path += place.name.empty() ? "" : place.name + '/';
    }
    return path + name_;
  }
  Result<std::uint64_t> parent_ino() {
    const Place& place = stack_.back();
    return place.in_volume != nullptr ? v_.tree_->shown_ino(*place.in_volume)
                                      : place.in_union->ino();
  }

 private:
  struct Place {
    std::string name;
    volume::DirectoryId id = 0;
    node::Node* in_union = nullptr;
    volume::VolumeNode* in_volume = nullptr;
  };
  struct Found {
    bool exists = false;
    mode_t type = 0;
    Place place;
  };

  void reset() {
    stack_.assign(1, Place{"", FUSE_ROOT_ID, &around_.filesystem.root(), nullptr});
    name_.clear();
  }

  static volume::DirectoryId id_of(const volume::VolumeNode& node) {
    return fuse::hidden_id(&node) | fuse::kVolumeTag;
  }

  Result<Found> find(const std::string& name) {
    const Place& at = stack_.back();
    Found found;
    found.place.name = name;
    if (volume::VolumeNode* const root = v_.points_.find(at.id, name)) {
      found.exists = true;
      found.type = mode_of_entry_type(root->entry_type());
      found.place.id = id_of(*root);
      found.place.in_volume = root;
      return found;
    }
    if (at.in_volume != nullptr) {
      auto entry = v_.tree_->lookup(*at.in_volume, name.c_str());
      if (!entry) {
        return entry.error() == ENOENT ? Result<Found>{std::move(found)} : entry.error();
      }
      found.type = entry->stat.type();
      found.place.in_volume = entry->node.get();
      found.place.id = id_of(*entry->node);
      v_.kept_in_volumes_.push_back(std::move(entry->node));
    } else {
      auto entry = around_.filesystem.lookup(*at.in_union, name.c_str());
      if (!entry) {
        return entry.error() == ENOENT ? Result<Found>{std::move(found)} : entry.error();
      }
      found.type = entry->stat.type();
      found.place.in_union = entry->node.get();
      found.place.id = fuse::hidden_id(entry->node.get());
      v_.kept_.push_back(std::move(entry->node));
    }
    found.exists = true;
    return found;
  }

  Status step(const std::string& name, std::deque<std::string>& rest) {
    name_.clear();
    if (name == ".") {
      return {};
    }
    if (name == "..") {
      if (stack_.size() > 1) {
        stack_.pop_back();
      }
      return {};
    }
    Found found = TRY(find(name));
    if (found.exists && found.type == kTypeSymlink) {
      return follow(found.place, rest);
    }
    if (rest.empty()) {
      name_ = name;
      return {};
    }
    if (!found.exists) {
      // Nobody has this directory: it is there while the mount is, and in no layer.
      volume::VolumeNode& made =
          v_.tree_->make_up(stack_.back().in_volume, name, kTypeDirectory | kMadeUpMode);
      (void)v_.points_.add(stack_.back().id, name, made);
      found.place.id = id_of(made);
      found.place.in_volume = &made;
    } else if (found.type != kTypeDirectory) {
      return Errno{ENOTDIR};
    } else {
      v_.points_.keep(stack_.back().id, name);
    }
    stack_.push_back(std::move(found.place));
    return {};
  }

  Status follow(const Place& link, std::deque<std::string>& rest) {
    if (++links_ > kMostLinks) {
      return Errno{ELOOP};
    }
    const std::string target = link.in_volume != nullptr
                                   ? TRY(v_.tree_->readlink(*link.in_volume))
                                   : TRY(around_.filesystem.readlink(*link.in_union));
    if (target.starts_with('/')) {
      reset();
    }
    go_by_link(rest, target);
    return {};
  }

  MountVolumes& v_;
  const Surroundings& around_;
  std::vector<Place> stack_;
  std::string name_;
  int links_ = 0;
};

Result<std::optional<volume::CoveredPlace>> MountVolumes::covered_in(sys::BorrowedFd source,
                                                                     const Surroundings& around) {
  using Covered = std::optional<volume::CoveredPlace>;
  if (!around.mountpoint_fd.valid()) {
    return Covered{};
  }
  const auto components = TRY(sys::components_below(source, around.mountpoint));
  if (!components || components->empty()) {
    return Covered{};
  }
  const std::string above = around.mountpoint.substr(0, around.mountpoint.rfind('/') + 1);
  const sys::UniqueFd parent = TRY(sys::open_directory_path(above.c_str()));
  const FileStat stat = TRY(sys::stat_object({parent.borrow(), ""}));
  sys::UniqueFd directory = TRY(sys::duplicate(around.mountpoint_fd));
  return Covered{volume::CoveredPlace{stat.dev, stat.ino, components->back(),
                                      std::make_shared<const sys::UniqueFd>(std::move(directory))}};
}

bool MountVolumes::open_sources(const Surroundings& around, Failure& failure) {
  for (const VolumeMount& asked : options_.volumes) {
    Volume volume;
    volume.asked = &asked;
    auto opened = open_source(asked);
    if (!opened) {
      return fail_source(failure, asked, opened.error());
    }
    const auto stat = sys::stat_object({opened->borrow(), ""});
    if (!stat) {
      return fail(failure, "cannot open volume", asked.source, stat.error(),
                  "check what it lies on");
    }
    volume.type = stat->type();
    const auto acl =
        sys::get_xattr_raw({opened->borrow(), ""}, "system.posix_acl_access", nullptr, 0);
    acl_ = acl_ || acl || acl.error() == ENODATA;
    const auto absolute = sys::absolute_path(sys::ProcPath{{opened->borrow(), ""}}.c_str());
    if (around.mountpoint_fd.valid() && absolute) {
      const auto inside = sys::components_below(around.mountpoint_fd, *absolute);
      if (inside && *inside) {
        return fail(failure, "cannot use volume", asked.source, Errno{EINVAL},
                    "it lies inside the mountpoint: choose a source outside of it");
      }
    }
    volume.object = std::move(*opened);
    volumes_.push_back(std::move(volume));
  }
  // What lies above must be there before what lies in it.
  std::stable_sort(volumes_.begin(), volumes_.end(), [](const Volume& a, const Volume& b) {
    return path_components(a.asked->destination).size() <
           path_components(b.asked->destination).size();
  });
  return true;
}

bool MountVolumes::choose_mode(const Surroundings& around, Failure& failure) {
  if (options_.volume_mode == VolumeMode::kFuse) {
    report_ = {VolumeMode::kFuse, "asked for by volume_mode=fuse"};
    return true;
  }
  Status possible;
  if (!around.mountpoint_fd.valid()) {
    possible = Errno{EOPNOTSUPP};
  }
  for (Volume& volume : volumes_) {
    if (!possible) {
      break;
    }
    auto clone = sys::clone_tree(volume.object.borrow(), volume.asked->read_only
                                                             ? sys::TreeAccess::kReadOnly
                                                             : sys::TreeAccess::kAsSource);
    if (clone) {
      volume.clone = std::move(*clone);
    } else {
      possible = clone.error();
    }
  }
  if (possible) {
    report_ = {VolumeMode::kBind, options_.volume_mode == VolumeMode::kBind
                                      ? "asked for by volume_mode=bind"
                                      : "bind mounts are allowed here"};
    return true;
  }
  if (options_.volume_mode == VolumeMode::kBind) {
    return fail(failure, "cannot bind volumes", options_.mountpoint, possible.error(),
                "be root, or leave volume_mode=bind out");
  }
  report_ = {VolumeMode::kFuse, "bind mounts are not allowed here (" + possible.error().message() +
                                    "): served by the daemon"};
  for (Volume& volume : volumes_) {
    volume.clone.reset();
  }
  return true;
}

bool MountVolumes::place(Volume& volume, const Surroundings& around, Failure& failure) {
  const VolumeMount& asked = *volume.asked;
  Walk walk{*this, around};
  const Status gone = walk.go(asked.destination);
  if (!gone) {
    return fail(failure, "cannot place volume", asked.destination, gone.error(),
                "choose another path in the mount");
  }
  volume::Source source;
  auto covered = covered_in(volume.object.borrow(), around);
  if (!covered) {
    return fail(failure, "cannot open volume", asked.source, covered.error(),
                "check the permissions above the mountpoint");
  }
  source.covered = std::move(*covered);
  source.object = std::move(volume.object);
  source.read_only = asked.read_only;
  source.destination = asked.destination;
  auto root = tree_->add(std::move(source));
  if (!root) {
    return fail(failure, "cannot open volume", asked.source, root.error(), "check what it lies on");
  }
  if (const auto ino = walk.parent_ino()) {
    tree_->set_parent_ino(**root, *ino);
  }
  if (!points_.add(walk.parent(), walk.name(), **root)) {
    return fail(failure, "cannot place volume", asked.destination, Errno{EBUSY},
                "another volume is there already: choose another path");
  }
  volume.place = walk.path();
  return true;
}

bool MountVolumes::place_all(const Surroundings& around, Failure& failure) {
  for (Volume& volume : volumes_) {
    if (!place(volume, around, failure)) {
      return false;
    }
  }
  return true;
}

std::unique_ptr<MountVolumes> MountVolumes::make(const MountOptions& options,
                                                 Surroundings surroundings, Failure& failure) {
  std::unique_ptr<MountVolumes> made{new MountVolumes{options}};
  made->mountpoint_ = surroundings.mountpoint;
  if (!made->open_sources(surroundings, failure) || !made->choose_mode(surroundings, failure)) {
    return nullptr;
  }
  volume::TreeOptions tree;
  tree.uids = IdMap{options.ids.uids, options.ids.squash_uid};
  tree.gids = IdMap{options.ids.gids, options.ids.squash_gid};
  tree.xattrs = options.xattrs == Toggle::kOn;
  tree.suid = surroundings.suid;
  tree.no_privileges = tree.uids.changes() || tree.gids.changes();
  tree.privileges = surroundings.privileges;
  tree.max_fds = surroundings.filesystem.max_fds();
  made->tree_ = std::make_unique<volume::VolumeTree>(std::move(tree));
  if (!made->place_all(surroundings, failure)) {
    return nullptr;
  }
  if (!made->live()) {
    made->tree_->seal();
  }
  return made;
}

bool MountVolumes::any_writable() const {
  return std::any_of(options_.volumes.begin(), options_.volumes.end(),
                     [](const VolumeMount& volume) { return !volume.read_only; });
}

std::vector<std::string> MountVolumes::bound_places() const {
  std::vector<std::string> places;
  for (const Volume& volume : volumes_) {
    if (!live()) {
      places.push_back(volume.place);
    }
  }
  return places;
}

/// A place inside another volume may be missing on the host: there it is made, as every container
/// engine does. Elsewhere the mount shows what is needed.
Result<sys::UniqueFd> MountVolumes::target_of(sys::BorrowedFd root, const Volume& volume) {
  auto found = sys::open_beneath(root, volume.place.c_str());
  if (found || found.error() != ENOENT) {
    return found;
  }
  sys::UniqueFd at = TRY(sys::duplicate(root));
  const std::deque<std::string> components = path_components(volume.place);
  for (std::size_t i = 0; i < components.size(); ++i) {
    const char* const name = components[i].c_str();
    const bool file = i + 1 == components.size() && volume.type != kTypeDirectory;
    auto next = sys::open_beneath(at.borrow(), name);
    if (!next && next.error() == ENOENT) {
      if (file) {
        (void)TRY(sys::create_file(at.borrow(), name, 0644));
      } else {
        TRY(sys::make_directory(at.borrow(), name, kCreatedMode));
      }
      next = sys::open_beneath(at.borrow(), name);
    }
    at = TRY(std::move(next));
  }
  return at;
}

bool MountVolumes::attach(Failure& failure) {
  if (live()) {
    return true;
  }
  const auto root = sys::open_directory_path(mountpoint_.c_str());
  if (!root) {
    return fail(failure, "cannot open mountpoint", mountpoint_, root.error(),
                "was it unmounted at once?");
  }
  for (Volume& volume : volumes_) {
    const auto target = target_of(root->borrow(), volume);
    const Status attached =
        target ? sys::attach_tree(volume.clone.borrow(), target->borrow()) : Status{target.error()};
    if (!attached) {
      return fail(failure, "cannot bind volume", volume.asked->destination, attached.error(),
                  "try volume_mode=fuse");
    }
    volume.clone.reset();
  }
  return true;
}

}  // namespace plyfs
