#include "control/layer_locks.h"

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "base/log.h"
#include "control/client.h"
#include "control/description.h"
#include "control/directories.h"
#include "sys/creds.h"
#include "sys/layer_root.h"
#include "sys/local_socket.h"
#include "sys/lock_holders.h"
#include "sys/mount_table.h"
#include "sys/object_stat.h"
#include "sys/process_facts.h"

namespace plyfs::control {
namespace {

constexpr int kStep_ms = 20;
constexpr int kEndingWait_ms = 10000;    // it writes back what the kernel gave it, and ends
constexpr int kElsewhereWait_ms = 2000;  // a namespace that was just copied, and goes away
constexpr const char* kNumbersFile = "/layers.lock";
constexpr mode_t kOthersWrite = 0022;

/// EWOULDBLOCK: a mount of this user has it. Other errors: there is no place of our own.
Result<sys::UniqueFd> take_number(sys::BorrowedFd directory) {
  const FileStat stat = TRY(sys::stat_object({directory, ""}));
  const std::string object = std::to_string(stat.dev) + ' ' + std::to_string(stat.ino);
  Errno last{ENOENT};
  for (const std::string& place : socket_directories()) {
    if (sys::make_private_directory(place)) {
      return sys::lock_number(place + kNumbersFile, hash_bytes(object));
    }
    last = Errno{EPERM};
  }
  return last;
}

/// Whether that process can have no mount of this directory: it may not write there.
bool is_stranger(const sys::OtherProcess& holder, const FileStat& directory) {
  return !holder.user || (*holder.user != 0 && *holder.user != sys::effective_uid() &&
                          *holder.user != directory.uid);
}

/// A lock that only strangers hold says nothing, and would let anybody who can read a directory
/// keep its owner from mounting it. Not where others may write, and not where ids are not what they
/// seem.
bool is_squatted(sys::BorrowedFd directory) {
  const auto stat = sys::stat_object({directory, ""});
  if (!stat || (stat->mode & kOthersWrite) != 0 || !sys::in_initial_user_namespace()) {
    return false;
  }
  const auto holders = sys::lock_holders(directory);
  return !holders.empty() &&
         std::ranges::all_of(holders, [&](const auto& h) { return is_stranger(h, *stat); });
}

std::string named(const sys::OtherProcess& process) {
  return "process " + std::to_string(process.id) +
         (process.program.empty() ? "" : " (" + log::printable(process.program) + ")");
}

/// What is known of who has it.
struct Owner {
  enum class State { kUnknown, kMountedHere, kMountedElsewhere } state = State::kUnknown;
  std::string remedy = "unmount that one first, or use other directories";
};

Owner owner_of(sys::BorrowedFd directory) {
  Owner owner;
  for (const sys::OtherProcess& holder : sys::lock_holders(directory)) {
    owner.remedy = named(holder) + " has it: unmount that one first, or use other directories";
    const auto described = ask_process(holder.id, "describe");
    if (!described) {
      continue;
    }
    const std::string mountpoint = text_member(*described, "mountpoint");
    const std::string device = text_member(*described, "device");
    const auto table = sys::mount_table();
    const bool here = device.empty() || !table ||
                      std::ranges::find(*table, device, &sys::MountEntry::device) != table->end();
    owner.state = here ? Owner::State::kMountedHere : Owner::State::kMountedElsewhere;
    const std::string place = log::printable(mountpoint);
    owner.remedy = here ? "process " + std::to_string(holder.id) + " has it mounted at " + place +
                              ": 'plyfs umount " + place + "' first, or use other directories"
                        : "process " + std::to_string(holder.id) + " had it mounted at " + place +
                              " and goes on: " + kept_alive_by(device, holder.id);
    return owner;
  }
  return owner;
}

/// EWOULDBLOCK: somebody has it.
Status try_to_take(sys::BorrowedFd directory, std::vector<sys::UniqueFd>& numbers) {
  auto number = take_number(directory);
  if (!number && number.error() == EWOULDBLOCK) {
    return number.error();
  }
  const Status locked = sys::lock_directory(directory, 0);
  if (!locked && (locked.error() != EBUSY || !number || !is_squatted(directory))) {
    return locked.error() == EBUSY ? Errno{EWOULDBLOCK} : locked.error();
  }
  if (!locked) {
    log::write(log::Level::kWarning,
               "a user who may not write there holds a lock on the upper or work directory, which "
               "is ignored");
  }
  if (number) {
    numbers.push_back(*std::move(number));
  }
  return {};
}

}  // namespace

std::string kept_alive_by(const std::string& device, int daemon) {
  const auto user = sys::user_of_device(device, daemon);
  if (!user) {
    return "somebody still has it open or in a mount namespace; 'kill " + std::to_string(daemon) +
           "' ends it";
  }
  return named(user->process) +
         (user->in_namespace ? " still has it in its mount namespace" : " still has it open") +
         "; end that one, or 'kill " + std::to_string(daemon) + "'";
}

std::optional<Refused> LayerLocks::take(sys::BorrowedFd directory) {
  for (int waited_ms = 0;; waited_ms += kStep_ms) {
    const Status taken = try_to_take(directory, numbers_);
    if (taken) {
      return std::nullopt;
    }
    if (taken.error() != EWOULDBLOCK) {
      return Refused{taken.error(), "see what this error says"};
    }
    const Owner owner = owner_of(directory);
    const bool here = owner.state == Owner::State::kMountedHere;
    const bool elsewhere = owner.state == Owner::State::kMountedElsewhere;
    if (here || waited_ms >= (elsewhere ? kElsewhereWait_ms : kEndingWait_ms)) {
      return Refused{Errno{EBUSY}, owner.remedy};
    }
    if (waited_ms == 0) {
      log::write(log::Level::kInfo, "waiting for the end of a mount: " + owner.remedy);
    }
    sys::sleep_ms(kStep_ms);
  }
}

}  // namespace plyfs::control
