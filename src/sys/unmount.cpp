#include "sys/unmount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "sys/unique_fd.h"

namespace plyfs::sys {
namespace {

/// The directory that holds a mount point, and the mount point's name in it.
struct MountPlace {
  UniqueFd parent;
  std::string name;
};

Result<MountPlace> mount_place_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string parent = path.substr(0, std::max<std::size_t>(slash, 1));
  MountPlace place{UniqueFd{::open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)},
                   path.substr(slash + 1)};
  if (!place.parent.valid()) {
    return Errno{errno};
  }
  return place;
}

std::string read_all(BorrowedFd pipe) {
  std::string text;
  std::array<char, 1024> buffer{};
  for (;;) {
    const ssize_t count = ::read(pipe.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return text;
    }
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

Result<int> exit_code_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return Errno{errno};
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Status unmount_directly(const MountEntry& mount, UnmountMode mode) {
  const MountPlace place = TRY(mount_place_of(mount.path));
  return unmount_at(place.parent.borrow(), place.name.c_str(), mount.id, mode);
}

Status unmount_at(BorrowedFd parent, const char* name, int mount_id, UnmountMode mode) {
  struct statx facts {};
  // With no field asked for, a FUSE mount answers this whoever asks, and asks no daemon.
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
  if (::statx(parent.get(), *name == '\0' ? "." : name, kFlags, 0, &facts) != 0) {
    return Errno{errno};
  }
  if ((facts.stx_mask & STATX_MNT_ID) != 0 &&
      facts.stx_mnt_id != static_cast<std::uint64_t>(mount_id)) {
    return Errno{ESTALE};
  }
  const std::string path = "/proc/self/fd/" + std::to_string(parent.get()) + "/" + name;
  const int flags = UMOUNT_NOFOLLOW | (mode == UnmountMode::kLazy ? MNT_DETACH : 0);
  if (::umount2(path.c_str(), flags) != 0) {
    return Errno{errno};
  }
  return {};
}

Result<HelperResult> unmount_by_helper(const std::string& fusermount, const std::string& path,
                                       UnmountMode mode) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return Errno{errno};
  }
  const UniqueFd read_end{ends[0]};
  UniqueFd write_end{ends[1]};
  std::vector<std::string> words{fusermount, "-u"};
  if (mode == UnmountMode::kLazy) {
    words.emplace_back("-z");
  }
  words.emplace_back("--");
  words.push_back(path);
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  (void)::posix_spawn_file_actions_init(&actions);
  (void)::posix_spawn_file_actions_adddup2(&actions, write_end.borrow().get(), 2);
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, fusermount.c_str(), &actions, nullptr, arguments.data(), environ);
  (void)::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return Errno{error};
  }
  write_end.reset();
  HelperResult result;
  result.error_text = read_all(read_end.borrow());
  result.exit_code = TRY(exit_code_of(child));
  return result;
}

}  // namespace plyfs::sys
