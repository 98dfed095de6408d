#include "store/transfer.h"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "config/failure_text.h"
#include "config/volume_spec.h"
#include "store/mounts.h"
#include "sys/durable_file.h"

namespace plyfs::store {
namespace {

namespace fs = std::filesystem;
using config::system_failure;
using MaybeFailure = std::optional<Failure>;

/// Takes the store's lock and reads the record.
MaybeFailure open_volume(const std::string& name, Home& home, sys::UniqueFd& lock, Volume& volume) {
  if (MaybeFailure failure = config::check_name(name, "bad volume name")) {
    return failure;
  }
  if (MaybeFailure failure = Home::find(home)) {
    return failure;
  }
  if (MaybeFailure failure = home.lock(lock)) {
    return failure;
  }
  auto found = read_volume(home, name);
  if (!found) {
    return system_failure(
        {"no such volume", name, found.error(),
         "'plyfs volume ls' shows those there are; 'plyfs volume create " + name + "' makes it"});
  }
  volume = *std::move(found);
  return std::nullopt;
}

Status take(const std::string& path, sys::LockKind kind, sys::UniqueFd& held) {
  held = TRY(sys::open_lock_file(path));
  return sys::lock_file(held.borrow(), kind, sys::LockWait::kNo);
}

std::string live_users_of(const Home& home, const std::string& volume) {
  std::string users;
  for (const MountRecord& record : list_mounts(home)) {
    if (record.live && record.uses(volume)) {
      users += (users.empty() ? "" : ", ") + config::shown(record.shown());
    }
  }
  return users;
}

}  // namespace

MaybeFailure HeldVolume::hold(const std::string& name) {
  Home home;
  sys::UniqueFd lock;
  if (MaybeFailure failure = open_volume(name, home, lock, volume_)) {
    return failure;
  }
  const Status held = take(home.volume(name) + "/use.lock", sys::LockKind::kShared, use_);
  if (held) {
    return std::nullopt;
  }
  const bool busy = held.error() == EWOULDBLOCK;
  return system_failure({"cannot export volume", name, busy ? Errno{EBUSY} : held.error(),
                         busy ? "it is being imported: wait until that is done"
                              : "make the volume store writable for you"});
}

MaybeFailure Replacement::begin(const std::string& name, bool replace) {
  sys::UniqueFd lock;
  if (MaybeFailure failure = open_volume(name, home_, lock, volume_)) {
    return failure;
  }
  replace_ = replace;
  const std::string directory = home_.volume(name);
  Status held = take(directory + "/fill.lock", sys::LockKind::kExclusive, filling_);
  if (held) {
    held = take(directory + "/use.lock", sys::LockKind::kExclusive, use_);
  }
  if (!held && held.error() == EWOULDBLOCK) {
    const std::string users = live_users_of(home_, name);
    return system_failure({"cannot import into volume", name, Errno{EBUSY},
                           users.empty() ? "another command exports or imports it: wait for that"
                                         : "it is in use by " + users + ": unmount that first"});
  }
  std::error_code error;
  const bool empty = held && fs::is_empty(volume_.data, error);
  if (!held || error) {
    return system_failure({"cannot use volume", name, held ? Errno{error.value()} : held.error(),
                           "make the volume store readable and writable for you"});
  }
  if (!empty && !replace_) {
    return system_failure({"cannot import into volume", name, Errno{ENOTEMPTY},
                           "--force replaces all that is in it; or import into a new volume"});
  }
  const auto random = sys::random_hex(8);
  const std::string stage = directory + "/" + kImportPrefix + random.value_or("");
  if (random && fs::create_directory(stage, error)) {
    stage_ = stage;
    fs::permissions(stage, fs::perms::owner_all, error);
  }
  if (!random || error) {
    return system_failure({"cannot import into volume", name,
                           random ? Errno{error.value()} : random.error(),
                           "make the volume store writable for you"});
  }
  return std::nullopt;
}

MaybeFailure Replacement::publish() {
  std::error_code error;
  // rename(2) replaces an empty directory, and no other.
  fs::rename(stage_, volume_.data, error);
  Status published = error ? Status{Errno{error.value()}} : Status{};
  const bool occupied =
      !published && (published.error() == ENOTEMPTY || published.error() == EEXIST);
  if (occupied && replace_) {
    published = sys::exchange(stage_, volume_.data);
  }
  if (!published) {
    return system_failure({"cannot put the content in place", volume_.name, published.error(),
                           occupied && !replace_ ? "it is no longer empty: --force replaces that"
                                                 : "import into a new volume"});
  }
  if (!occupied) {
    stage_.clear();
  }
  (void)sys::sync_directory(home_.volume(volume_.name));
  volume_.filled = timestamp();
  (void)write_volume(home_, volume_);  // for `inspect` only
  return std::nullopt;
}

Replacement::~Replacement() {
  if (!stage_.empty()) {
    (void)sys::remove_tree(stage_);
  }
}

bool is_held(const Home& home, const std::string& volume) {
  std::error_code error;
  const std::string path = home.volume(volume) + "/use.lock";
  sys::UniqueFd use;
  if (!fs::exists(path, error)) {
    return false;
  }
  const Status taken = take(path, sys::LockKind::kExclusive, use);
  return !taken && taken.error() == EWOULDBLOCK;
}

}  // namespace plyfs::store
