#include "store/attachment.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "config/failure_text.h"
#include "store/transfer.h"
#include "store/volumes.h"
#include "sys/durable_file.h"
#include "sys/process_facts.h"

namespace plyfs::store {
namespace {

namespace fs = std::filesystem;
using config::mount_failure;
using MaybeFailure = std::optional<Failure>;

constexpr std::size_t kAnonymousName_bytes = 32;

MaybeFailure resolve_bind(const VolumeSpec& spec, MountOptions& options) {
  std::error_code error;
  const fs::file_status found = fs::status(spec.source, error);
  if (found.type() == fs::file_type::not_found) {
    if (options.strict_volumes) {
      return mount_failure({"cannot use volume", spec.source, Errno{ENOENT},
                            "create it, or leave out --strict-volumes"});
    }
    fs::create_directories(spec.source, error);
    if (error) {
      return mount_failure({"cannot create the host directory of a volume", spec.source,
                            Errno{error.value()}, "create it yourself, or choose another"});
    }
  } else if (found.type() == fs::file_type::none) {
    return mount_failure({"cannot use volume", spec.source, Errno{error.value()},
                          "make it reachable for you, or choose another"});
  } else if (found.type() != fs::file_type::directory && found.type() != fs::file_type::regular) {
    return mount_failure(
        {"cannot use volume", spec.source, Errno{EINVAL}, "name a directory or a regular file"});
  }
  VolumeMount volume;
  volume.source = spec.source;
  volume.destination = spec.destination;
  volume.read_only = spec.read_only;
  options.volumes.push_back(std::move(volume));
  return std::nullopt;
}

bool has_destination(const MountOptions& options, const std::string& destination) {
  const auto at = [&](const auto& volume) { return volume.destination == destination; };
  return std::ranges::any_of(options.volume_specs, at) || std::ranges::any_of(options.volumes, at);
}

bool needs_store(const MountOptions& options) {
  return !options.name.empty() || !options.volumes_from.empty() || !options.image.empty() ||
         std::ranges::any_of(options.volume_specs, [](const VolumeSpec& spec) {
           return spec.kind != VolumeSpec::Kind::kBind;
         });
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const fs::path found = fs::absolute(path, error);
  return error ? path : found.string();
}

MaybeFailure store_failure(const std::string& what, const std::string& subject, Errno error) {
  const char* const remedy = error == EILSEQ
                                 ? "the record of a mount holds UTF-8 only: use such paths"
                                 : "see what this error says about PLYFS_HOME";
  return mount_failure({what, subject, error, remedy});
}

}  // namespace

MaybeFailure Attachment::take_record(const MountOptions& options) {
  if (options.name.empty()) {
    const auto random = sys::random_hex(8);
    if (!random) {
      return store_failure("cannot name the record of the mount", "getrandom", random.error());
    }
    record_.key = ".run-" + *random;
  } else {
    record_.key = options.name;
  }
  std::error_code error;
  const std::string directory = home_.mount(record_.key);
  const bool made = fs::create_directory(directory, error);
  if (error) {
    return store_failure("cannot make the record of the mount", directory, Errno{error.value()});
  }
  if (!made) {
    if (auto before = read_mount(home_, record_.key)) {
      before_ = *std::move(before);
    }
  }
  auto file = sys::open_lock_file(directory + "/lock");
  const Status locked =
      file ? sys::lock_file(file->borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo)
           : Status{file.error()};
  if (!locked && locked.error() == EWOULDBLOCK) {
    const std::string where = before_ ? " (" + before_->mountpoint + ")" : "";
    return mount_failure(
        {"the name of the mount is in use", options.name, Errno{EBUSY},
         "unmount that one first" + config::shown(where) + ", or use another name"});
  }
  if (!locked) {
    return store_failure("cannot lock the record of the mount", directory, locked.error());
  }
  alive_ = *std::move(file);
  return std::nullopt;
}

MaybeFailure Attachment::take_over(const VolumesFrom& from, MountOptions& options) {
  const auto source = read_mount(home_, from.name);
  if (!source) {
    return mount_failure({"cannot take over volumes", from.name, source.error(),
                          "'plyfs ls' shows the mounts that have a name"});
  }
  // Records hold copies, so a cycle could never run for ever; but it says that something is wrong.
  std::vector<std::string> ask{from.name};
  for (std::size_t i = 0; i < ask.size(); ++i) {
    if (ask[i] == options.name) {
      return mount_failure({"cannot take over volumes", from.name, Errno{ELOOP},
                            "its own volumes come from " + options.name + ": name another mount"});
    }
    if (const auto next = read_mount(home_, ask[i])) {
      for (const std::string& name : next->volumes_from) {
        if (std::ranges::find(ask, name) == ask.end()) {
          ask.push_back(name);
        }
      }
    }
  }
  for (VolumeMount volume : source->volumes) {
    if (has_destination(options, volume.destination)) {
      continue;  // what was asked for by itself wins, and who was named first
    }
    const auto managed =
        volume.name.empty() ? Result<Volume>{Errno{ENOENT}} : read_volume(home_, volume.name);
    if (managed) {
      volume.source = managed->data;  // the store may have been moved
    } else if (!volume.name.empty()) {
      return mount_failure({"cannot take over volume", volume.name, Errno{ENOENT},
                            "it was removed: create it again, or leave out --volumes-from"});
    }
    volume.read_only = volume.read_only || from.read_only;
    options.volumes.push_back(std::move(volume));
  }
  return std::nullopt;
}

MaybeFailure Attachment::resolve_managed(const VolumeSpec& spec, MountOptions& options) {
  Volume wanted;
  wanted.name = spec.source;
  wanted.anonymous = spec.kind == VolumeSpec::Kind::kAnonymous;
  if (wanted.anonymous && before_) {
    // A named mount that comes back finds what it left.
    for (const VolumeMount& old : before_->volumes) {
      if (old.anonymous && old.destination == spec.destination && read_volume(home_, old.name)) {
        wanted.name = old.name;
      }
    }
  }
  if (wanted.name.empty()) {
    const auto random = sys::random_hex(kAnonymousName_bytes);
    if (!random) {
      return store_failure("cannot name a volume", spec.destination, random.error());
    }
    wanted.name = *random;
  }
  auto volume = read_volume(home_, wanted.name);
  if (!volume && volume.error() == ENOENT) {
    volume = create_volume(home_, wanted);
    if (volume && wanted.anonymous) {
      made_.push_back(wanted.name);
    }
  }
  if (!volume) {
    return store_failure("cannot create volume", wanted.name, volume.error());
  }
  VolumeMount mount;
  mount.source = volume->data;
  mount.destination = spec.destination;
  mount.read_only = spec.read_only;
  mount.name = volume->name;
  mount.anonymous = volume->anonymous;
  mount.subpath = spec.subpath;
  mount.fill = !spec.no_copy && spec.subpath.empty();
  options.volumes.push_back(std::move(mount));
  return std::nullopt;
}

MaybeFailure Attachment::write_record(const MountOptions& options) {
  record_.name = options.name;
  record_.mountpoint = options.mountpoint;
  record_.pid = sys::process_id();
  record_.started = timestamp();
  for (const LayerPath& layer : options.lowers) {
    record_.lowers.push_back(absolute(layer.path));
    record_.data_only += layer.data_only ? 1 : 0;
  }
  record_.image = options.image;
  record_.userxattr = options.xattr_namespace == XattrNamespace::kUser;
  record_.upper = options.upper ? absolute(*options.upper) : "";
  record_.work = options.work ? absolute(*options.work) : "";
  record_.volumes = options.volumes;
  for (const VolumesFrom& from : options.volumes_from) {
    record_.volumes_from.push_back(from.name);
  }
  const Status written = write_mount(home_, record_);
  if (!written) {
    return store_failure("cannot write the record of the mount", home_.mount(record_.key),
                         written.error());
  }
  written_ = true;
  return std::nullopt;
}

/// Our record is written, so nobody removes the volumes any more.
MaybeFailure Attachment::lock_volumes(MountOptions& options) {
  std::set<std::string> names;  // sorted: two mounts never wait for each other
  for (const VolumeMount& volume : options.volumes) {
    if (!volume.name.empty()) {
      names.insert(volume.name);
    }
  }
  for (const std::string& name : names) {
    auto filling = sys::open_lock_file(home_.volume(name) + "/fill.lock");
    auto use = sys::open_lock_file(home_.volume(name) + "/use.lock");
    Status locked = !filling ? Status{filling.error()} : !use ? Status{use.error()} : Status{};
    if (locked) {
      locked = sys::lock_file(filling->borrow(), sys::LockKind::kExclusive, sys::LockWait::kYes);
    }
    bool alone = false;
    if (locked) {
      alone =
          sys::lock_file(use->borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo).has_value();
      locked = sys::lock_file(use->borrow(), sys::LockKind::kShared, sys::LockWait::kYes);
    }
    if (!locked) {
      return store_failure("cannot lock volume", name, locked.error());
    }
    std::error_code error;
    bool fill = alone && fs::is_empty(home_.volume(name) + "/_data", error) && !error;
    for (VolumeMount& volume : options.volumes) {
      if (volume.name == name) {
        volume.fill = volume.fill && fill;
        fill = fill && !volume.fill;  // once
      }
    }
    filling_.push_back(*std::move(filling));
    uses_.push_back(*std::move(use));
  }
  return std::nullopt;
}

MaybeFailure Attachment::resolve_all(MountOptions& options) {
  sys::UniqueFd lock;
  if (MaybeFailure failure = home_.lock(lock)) {
    return failure;
  }
  if (MaybeFailure failure = take_record(options)) {
    return failure;
  }
  for (const VolumeSpec& spec : options.volume_specs) {
    MaybeFailure failure = spec.kind == VolumeSpec::Kind::kBind ? resolve_bind(spec, options)
                                                                : resolve_managed(spec, options);
    if (failure) {
      return failure;
    }
  }
  for (const VolumesFrom& from : options.volumes_from) {
    if (MaybeFailure failure = take_over(from, options)) {
      return failure;
    }
  }
  return write_record(options);
}

MaybeFailure Attachment::resolve(MountOptions& options) {
  options.volumes.clear();
  if (!needs_store(options)) {
    for (const VolumeSpec& spec : options.volume_specs) {
      if (MaybeFailure failure = resolve_bind(spec, options)) {
        return failure;
      }
    }
    return std::nullopt;
  }
  if (MaybeFailure failure = Home::find(home_)) {
    return failure;
  }
  if (MaybeFailure failure = resolve_all(options)) {
    return failure;
  }
  return lock_volumes(options);
}

void Attachment::settle(const MountOptions& options) {
  settled_ = true;
  for (const VolumeMount& volume : options.volumes) {
    std::error_code error;
    auto record = volume.fill ? read_volume(home_, volume.name) : Result<Volume>{Errno{ENOENT}};
    if (record && !fs::is_empty(volume.source, error) && !error) {
      record->filled = timestamp();
      (void)write_volume(home_, *record);  // for `inspect` only
    }
  }
  filling_.clear();
}

/// Nobody could ask for them by name, and nothing was written to them.
void Attachment::discard_made() {
  filling_.clear();
  uses_.clear();  // ours would be taken for another's
  sys::UniqueFd lock;
  std::vector<std::string> trash;
  if (made_.empty() || home_.lock(lock)) {
    return;
  }
  for (const std::string& name : made_) {
    if (is_held(home_, name)) {
      continue;  // by a mount that took it over
    }
    if (auto moved = home_.discard(home_.volume(name))) {
      trash.push_back(*std::move(moved));
    }
  }
  lock.reset();
  for (const std::string& path : trash) {
    (void)sys::remove_tree(path);
  }
}

Attachment::~Attachment() {
  if (!alive_.valid()) {
    return;
  }
  if (!settled_) {
    discard_made();
  }
  if (!settled_ && before_) {
    if (written_) {
      (void)write_mount(home_, *before_);
    }
  } else if (!settled_ || record_.name.empty()) {
    // Who comes next finds a record without a lock, should this fail.
    (void)sys::remove_tree(home_.mount(record_.key));
  }
}

}  // namespace plyfs::store
