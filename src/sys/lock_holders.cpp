#include "sys/lock_holders.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <set>

#include "sys/local_socket.h"
#include "sys/mount_table.h"

namespace plyfs::sys {
namespace {

std::string process_file(int process, const char* name) {
  return "/proc/" + std::to_string(process) + "/" + name;
}

OtherProcess other_process(int id) {
  OtherProcess found;
  found.id = id;
  std::ifstream status{process_file(id, "status")};
  for (std::string line; std::getline(status, line);) {
    unsigned uid = 0;
    if (line.starts_with("Name:\t")) {
      found.program = line.substr(6);
    } else if (std::sscanf(line.c_str(), "Uid: %u", &uid) == 1) {
      found.user = uid;
    }
  }
  return found;
}

/// As proc_locks(5) writes it: the device of the filesystem, which is not always st_dev, and the
/// inode.
std::optional<std::string> lock_name(BorrowedFd object) {
  struct statx facts {};
  if (::statx(object.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_MNT_ID,
              &facts) != 0) {
    return std::nullopt;
  }
  unsigned major = facts.stx_dev_major;
  unsigned minor = facts.stx_dev_minor;
  if (const auto table = mount_table()) {
    const auto mount =
        std::ranges::find(*table, static_cast<int>(facts.stx_mnt_id), &MountEntry::id);
    if (mount != table->end()) {
      (void)std::sscanf(mount->device.c_str(), "%u:%u", &major, &minor);
    }
  }
  char text[64];
  (void)std::snprintf(text, sizeof text, "%02x:%02x:%llu", major, minor,
                      static_cast<unsigned long long>(facts.stx_ino));
  return text;
}

std::vector<int> processes() {
  std::vector<int> ids;
  for (const std::string& name : names_in("/proc")) {
    int id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error == std::errc{} && end == name.data() + name.size()) {
      ids.push_back(id);
    }
  }
  return ids;
}

std::string link_target(const std::string& path) {
  char target[256];
  const ssize_t size = ::readlink(path.c_str(), target, sizeof target);
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : std::string{};
}

bool shows(int process, const std::string& device) {
  const auto table = mount_table_of(process);
  return table && std::ranges::find(*table, device, &MountEntry::device) != table->end();
}

/// Whether an open file or a directory of the process lies on that device.
bool has_open(int process, const std::string& device) {
  std::vector<std::string> paths{process_file(process, "cwd"), process_file(process, "root")};
  const std::string files = process_file(process, "fd");
  for (const std::string& name : names_in(files)) {
    paths.push_back(files + '/' + name);
  }
  return std::ranges::any_of(paths, [&](const std::string& path) {
    struct statx facts {};
    return ::statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &facts) == 0 &&
           std::to_string(facts.stx_dev_major) + ":" + std::to_string(facts.stx_dev_minor) ==
               device;
  });
}

}  // namespace

std::vector<OtherProcess> lock_holders(BorrowedFd object) {
  std::vector<OtherProcess> holders;
  const auto wanted = lock_name(object);
  std::ifstream locks{"/proc/locks"};
  for (std::string line; wanted && std::getline(locks, line);) {
    char kind[16];
    char place[64];
    int process = 0;
    // "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; a waiter has "->" behind the number.
    if (std::sscanf(line.c_str(), "%*d: %15s %*s %*s %d %63s", kind, &process, place) == 3 &&
        std::string_view{kind} == "FLOCK" && *wanted == place && process > 0) {
      holders.push_back(other_process(process));
    }
  }
  return holders;
}

Result<UniqueFd> lock_number(const std::string& file, std::uint64_t number) {
  UniqueFd opened{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!opened.valid()) {
    return Errno{errno};
  }
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(number >> 2);
  lock.l_len = 1;
  if (::fcntl(opened.borrow().get(), F_OFD_SETLK, &lock) != 0) {
    return Errno{errno == EACCES ? EWOULDBLOCK : errno};
  }
  return opened;
}

std::optional<MountUser> user_of_device(const std::string& device, int daemon) {
  const std::vector<int> ids = processes();
  std::set<std::string> seen{link_target("/proc/self/ns/mnt"), std::string{}};
  for (const int id : ids) {
    if (id != daemon && seen.insert(link_target(process_file(id, "ns/mnt"))).second &&
        shows(id, device)) {
      return MountUser{other_process(id), true};
    }
  }
  for (const int id : ids) {
    if (id != daemon && has_open(id, device)) {
      return MountUser{other_process(id), false};
    }
  }
  return std::nullopt;
}

}  // namespace plyfs::sys
