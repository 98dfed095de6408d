#include "fuse/backed_files.h"

#include <atomic>
#include <string>

#include "base/log.h"
#include "sys/creds.h"
#include "sys/fuse_device.h"

namespace plyfs::fuse {

/// 0 where the kernel refuses: it then caches, and asks us.
std::int32_t BackedFiles::lend(sys::BorrowedFd file) {
  // The kernel writes with the lender's rights. It does not ask which writers may keep suid bits
  // (FUSE_HANDLE_KILLPRIV_V2 leaves that to us), so none may.
  const sys::ScopedWithoutFsetid without;
  const auto number = sys::lend_backing_file(device_, file);
  if (number) {
    return *number;
  }
  static std::atomic<bool> told{false};
  if (!told.exchange(true)) {
    log::write(log::Level::kWarning,
               "no passthrough for some files: " + number.error().message() +
                   (number.error() == ELOOP ? "; the upper lies on a stacked filesystem" : ""));
  }
  return 0;
}

BackedFiles::Opened BackedFiles::open(std::uint64_t id, sys::BorrowedFd file, Writes writes) {
  Shard& shard = shard_of(id);
  const MutexLock lock{shard.mu};
  State& state = shard.states[id];
  if (state.backed == 0) {
    state.backing = state.cached == 0 && file.valid() ? lend(file) : 0;
  }
  if (state.backing == 0) {
    ++state.cached;
    return {0, writes};
  }
  ++state.backed;
  state.writers += writes == Writes::kYes ? 1 : 0;
  return {state.backing, writes};
}

void BackedFiles::release(std::uint64_t id, Opened opened) {
  Shard& shard = shard_of(id);
  const MutexLock lock{shard.mu};
  const auto found = shard.states.find(id);
  if (found == shard.states.end()) {
    return;
  }
  State& state = found->second;
  if (opened.backing == 0) {
    --state.cached;
  } else {
    --state.backed;
    state.writers -= opened.writes == Writes::kYes ? 1 : 0;
  }
  if (state.backed == 0 && opened.backing != 0) {
    sys::return_backing_file(device_, opened.backing);
  }
  if (state.backed == 0 && state.cached == 0) {
    shard.states.erase(found);
  }
}

bool BackedFiles::is_written(std::uint64_t id) {
  Shard& shard = shard_of(id);
  const MutexLock lock{shard.mu};
  const auto found = shard.states.find(id);
  return found != shard.states.end() && found->second.writers != 0;
}

}  // namespace plyfs::fuse
