// lookup, and how the verbs reach objects.
#include "volume/tree.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "base/inode_number.h"
#include "base/log.h"
#include "sys/file_handle.h"
#include "sys/object_stat.h"

namespace plyfs::volume {
namespace {

// Inode numbers that do not fit 32 bits: 2^54 inodes in each of up to 255 filesystems.
constexpr std::uint64_t kVolumeBit = std::uint64_t{1} << 63;
constexpr std::uint64_t kHashedBit = std::uint64_t{1} << 62;
constexpr unsigned kDeviceShift = 54;
constexpr std::uint64_t kMaxDevices = 255;

constexpr int kMaxDepth = 2048;  // of directories that were all dropped from the cache

}  // namespace

VolumeTree::VolumeTree(TreeOptions options)
    : options_(std::move(options)),
      nodes_([this](VolumeNode& node) { release(node); }),
      fds_(options_.max_fds) {}

void VolumeTree::release(VolumeNode& node) {
  for (const Slot slot : {kHandle, kRead, kWrite}) {
    (void)fds_.erase({&node, slot});
  }
  (void)late_errors_.take(&node);
  if (node.is_directory()) {
    listings_.drop(node);
  }
}

Result<VolumeNode*> VolumeTree::add(Source source) {
  const FileStat stat = TRY(sys::stat_object({source.object.borrow(), ""}));
  const bool close_to_open = TRY(sys::is_close_to_open(source.object.borrow()));
  const sys::MountRefusals refused = sys::mount_refusals(source.object.borrow());
  const ObjectKey key{static_cast<VolumeIndex>(volumes_.size()), stat.dev, stat.ino};
  VolumeNodeRef root = nodes_.attach(nullptr, {}, key, stamp_of(source.object.borrow(), stat),
                                     entry_type_of(stat.mode));
  nodes_.set_anchor(*root, std::make_shared<const sys::UniqueFd>(std::move(source.object)));
  volumes_.push_back({source.read_only, std::move(source.destination), 0, std::move(source.covered),
                      close_to_open, options_.no_privileges || (options_.suid && refused.suid),
                      refused.devices});
  VolumeNode* const made = root.get();
  kept_.push_back(std::move(root));
  return made;
}

VolumeNode& VolumeTree::make_up(VolumeNode* parent, std::string_view name, mode_t mode) {
  FileStat stat;
  stat.mode = mode;
  stat.nlink = 1;
  stat.uid = options_.privileges.euid;
  stat.gid = options_.privileges.egid;
  stat.block_size_bytes = 4096;
  stat.atime = stat.mtime = stat.ctime = {std::time(nullptr), 0};
  const VolumeIndex volume = parent != nullptr ? parent->volume() : 0;
  kept_.push_back(nodes_.attach_made_up(parent, name, volume, stat));
  return *kept_.back();
}

void VolumeTree::set_parent_ino(VolumeNode& root, std::uint64_t ino) {
  if (root.made_up() == nullptr) {
    volumes_[root.volume()].parent_ino = ino;
  }
}

std::uint64_t VolumeTree::device_index(dev_t dev) {
  std::uint64_t index = 0;
  {
    const SharedLock lock{devices_mu_};
    index = static_cast<std::uint64_t>(std::find(devices_.begin(), devices_.end(), dev) -
                                       devices_.begin());
    if (index == devices_.size()) {
      index = kMaxDevices;
    }
  }
  if (index == kMaxDevices) {
    const ExclusiveLock lock{devices_mu_};
    index = static_cast<std::uint64_t>(std::find(devices_.begin(), devices_.end(), dev) -
                                       devices_.begin());
    if (index == devices_.size() && index < kMaxDevices) {
      devices_.push_back(dev);
    }
  }
  return index;
}

std::uint64_t VolumeTree::composed_ino(std::uint64_t index, dev_t dev, ino_t ino) {
  if (index < kVolumeSpaces && fits_short(ino)) {
    return short_ino(kUnionSpaces + index, ino);
  }
  if (index >= kMaxDevices || ino >> kDeviceShift != 0) {
    return hash_pair(dev, ino) | kVolumeBit | kHashedBit;
  }
  return ino | index << kDeviceShift | kVolumeBit;
}

std::uint64_t VolumeTree::shown_ino(VolumeNode& node) {
  if (node.made_up() != nullptr) {
    return short_ino(kMadeUpSpace, node.key().ino);
  }
  return shown_ino(node.key().dev, node.key().ino);
}

FileStat VolumeTree::view(const VolumeNode& node, const FileStat& disk) {
  FileStat stat = disk;
  stat.mode = drops_privileges(node) ? without_privileges(disk.mode) : disk.mode;
  stat.ino = shown_ino(disk.dev, disk.ino);
  stat.uid = options_.uids.to_view(disk.uid);
  stat.gid = options_.gids.to_view(disk.gid);
  return stat;
}

/// Inode numbers are used again once an inode is gone; the generation in a file handle tells such
/// inodes apart, or else the time of birth.
std::uint64_t VolumeTree::stamp_of(sys::BorrowedFd object, const FileStat& stat) {
  const auto found = sys::file_handle({object, ""});
  if (found && *found) {
    return hash_pair(hash_bytes((*found)->bytes), static_cast<std::uint64_t>((*found)->type));
  }
  return hash_pair(static_cast<std::uint64_t>(stat.btime.tv_sec),
                   static_cast<std::uint64_t>(stat.btime.tv_nsec));
}

Status VolumeTree::writable(const VolumeNode& node) const {
  const bool refused = sealed_ || node.made_up() != nullptr || volumes_[node.volume()].read_only;
  return refused ? Status{Errno{EROFS}} : Status{};
}

/// A descriptor of the node's object that is open now, of any kind; null when there is none. While
/// it is open the inode cannot go, so its number means this object.
sys::FdPin VolumeTree::open_already(VolumeNode& node) {
  for (const Slot slot : {kHandle, kRead, kWrite}) {
    if (sys::FdPin cached = fds_.find({&node, slot})) {
      return cached;
    }
  }
  return nullptr;
}

Result<sys::FdPin> VolumeTree::handle(VolumeNode& node) {
  if (node.made_up() != nullptr) {
    return Errno{EROFS};
  }
  if (sys::FdPin cached = open_already(node)) {
    return cached;
  }
  return reopen(node);
}

/// By the name under which it was last seen. The nearest ancestor that is open, or anchored, is
/// found first, then the way down is gone: each step must lead to the inode that was there.
Result<sys::FdPin> VolumeTree::reopen(VolumeNode& node) {
  std::vector<std::pair<VolumeNodeRef, std::string>> way;
  VolumeNodeRef at = nodes_.ref(node);
  sys::FdPin current;
  while (!current) {
    Whereabouts place = nodes_.whereabouts(*at);
    current = place.anchor ? place.anchor : open_already(*at);
    if (place.anchor && way.empty()) {
      return fds_.insert({&node, kHandle}, TRY(sys::reopen_handle(place.anchor->borrow())),
                         sys::FdCache::IfPresent::kKeep);
    }
    if (current) {
      break;
    }
    if (!place.parent || way.size() > kMaxDepth) {
      return Errno{ESTALE};
    }
    way.emplace_back(std::move(at), std::move(place.name));
    at = std::move(place.parent);
  }
  while (!way.empty()) {
    const auto& [step, name] = way.back();
    auto opened = sys::open_handle({current->borrow(), name.c_str()});
    if (!opened) {
      const bool moved = opened.error() == ENOENT || opened.error() == ENOTDIR;
      return moved ? Errno{ESTALE} : opened.error();
    }
    const FileStat stat = TRY(sys::stat_object({opened->borrow(), ""}));
    if (stat.dev != step->key().dev || stat.ino != step->key().ino ||
        stamp_of(opened->borrow(), stat) != step->stamp()) {
      return Errno{ESTALE};
    }
    current =
        fds_.insert({step.get(), kHandle}, std::move(*opened), sys::FdCache::IfPresent::kKeep);
    way.pop_back();
  }
  return current;
}

const CoveredPlace* VolumeTree::covered(VolumeNode& parent, const char* name) const {
  const auto& place = volumes_[parent.volume()].covered;
  const bool here = place && parent.key().ino == place->parent_ino &&
                    parent.key().dev == place->parent_dev && place->name == name;
  return here ? &*place : nullptr;
}

VolumeNodeRef VolumeTree::attach(VolumeNode& parent, const char* name, sys::BorrowedFd object,
                                 const FileStat& stat) {
  return nodes_.attach(&parent, name, {parent.volume(), stat.dev, stat.ino}, stamp_of(object, stat),
                       entry_type_of(stat.mode));
}

/// The node of an object; its handle goes to the cache.
Result<VolumeEntry> VolumeTree::adopt(VolumeNode& parent, const char* name, sys::UniqueFd object) {
  const FileStat stat = TRY(sys::stat_object({object.borrow(), ""}));
  VolumeNodeRef node = attach(parent, name, object.borrow(), stat);
  (void)fds_.insert({node.get(), kHandle}, std::move(object), sys::FdCache::IfPresent::kKeep);
  const FileStat shown = view(*node, stat);
  return VolumeEntry{std::move(node), shown};
}

/// The same of a file that is open for writing.
Result<VolumeEntry> VolumeTree::adopt_written(VolumeNode& parent, const char* name,
                                              sys::UniqueFd file) {
  const FileStat stat = TRY(sys::stat_object({file.borrow(), ""}));
  VolumeNodeRef node = attach(parent, name, file.borrow(), stat);
  if ((stat.mode & kExecuteBits) != 0 && !is_close_to_open(*node)) {
    (void)fds_.insert({node.get(), kHandle}, TRY(sys::reopen_handle(file.borrow())),
                      sys::FdCache::IfPresent::kKeep);
  } else {
    (void)fds_.insert({node.get(), kWrite}, pin_writer(*node, std::move(file)),
                      sys::FdCache::IfPresent::kKeep);
  }
  const FileStat shown = view(*node, stat);
  return VolumeEntry{std::move(node), shown};
}

Result<VolumeEntry> VolumeTree::adopt_named(VolumeNode& parent, const char* name,
                                            sys::BorrowedFd dir) {
  return adopt(parent, name, TRY(sys::open_handle({dir, name})));
}

Result<VolumeEntry> VolumeTree::lookup(VolumeNode& parent, const char* name) {
  if (sealed_ || parent.made_up() != nullptr) {
    return Errno{ENOENT};
  }
  const sys::FdPin dir = TRY(handle(parent));
  if (const CoveredPlace* const place = covered(parent, name)) [[unlikely]] {
    return adopt(parent, name, TRY(sys::duplicate(place->directory->borrow())));
  }
  const FileStat stat = TRY(sys::stat_object({dir->borrow(), name}));
  VolumeNodeRef known = nodes_.find({parent.volume(), stat.dev, stat.ino});
  if (known && open_already(*known)) {
    nodes_.set_place(*known, parent, name);
    const FileStat shown = view(*known, stat);
    return VolumeEntry{std::move(known), shown};
  }
  return adopt_named(parent, name, dir->borrow());
}

bool VolumeTree::any_without_devices() const {
  return std::any_of(volumes_.begin(), volumes_.end(),
                     [](const Volume& volume) { return volume.no_devices; });
}

bool VolumeTree::any_close_to_open() const {
  return std::any_of(volumes_.begin(), volumes_.end(),
                     [](const Volume& volume) { return volume.close_to_open; });
}

Result<VolumeEntry> VolumeTree::enter(VolumeNode& root) {
  const FileStat stat = TRY(getattr(root));
  return VolumeEntry{nodes_.ref(root), stat};
}

/// Only NFS does that. Who looks at the very name that NFS gave sees a file like any other.
bool VolumeTree::is_set_aside(const VolumeNode& node, sys::BorrowedFd object) const {
  return is_close_to_open(node) && sys::is_set_aside(object);
}

std::vector<GoneName> VolumeTree::find_gone() {
  // A node lets go of its descriptors before it is freed.
  std::vector<VolumeNodeRef> open;
  open.reserve(fds_.size());
  fds_.visit_owners([&](const void* owner) {
    auto& node = *static_cast<VolumeNode*>(const_cast<void*>(owner));
    if (open.size() < open.capacity()) {  // else it is looked at the next time
      if (VolumeNodeRef alive = nodes_.ref_if_alive(node)) {
        open.push_back(std::move(alive));
      }
    }
  });
  std::vector<GoneName> gone;
  for (const VolumeNodeRef& node : open) {
    const sys::FdPin object = open_already(*node);
    const auto stat =
        object ? sys::stat_object({object->borrow(), ""}) : Result<FileStat>{Errno{ENOENT}};
    if (!stat || (stat->nlink != 0 && !is_set_aside(*node, object->borrow()))) {
      continue;
    }
    Whereabouts place = nodes_.whereabouts(*node);
    if (!place.parent || !node->find_gone()) {
      continue;
    }
    if (!place.anchor) {
      // Somebody may have it open: then nothing else leads to it any more.
      if (auto anchor = sys::reopen_handle(object->borrow())) {
        nodes_.set_anchor(*node, std::make_shared<const sys::UniqueFd>(std::move(*anchor)));
      }
    }
    gone.push_back({std::move(place.parent), std::move(place.name)});
  }
  return gone;
}

std::string VolumeTree::describe(VolumeNode& node) {
  std::string path;
  VolumeNodeRef at = nodes_.ref(node);
  for (int depth = 0; at && depth < kMaxDepth; ++depth) {
    Whereabouts place = nodes_.whereabouts(*at);
    if (!place.name.empty()) {
      path.insert(0, '/' + place.name);
    }
    at = std::move(place.parent);
  }
  const std::string& destination =
      node.made_up() != nullptr ? path : volumes_[node.volume()].destination;
  return log::printable(node.made_up() != nullptr ? path : destination + path);
}

}  // namespace plyfs::volume
