#include "sys/unmount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "sys/unique_fd.h"

namespace plyfs::sys {
namespace {

// mountinfo writes space, tab, newline and backslash as \ooo.
std::string decode_octal(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      bytes.push_back(static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8)));
      i += 3;
    } else {
      bytes.push_back(text[i]);
    }
  }
  return bytes;
}

// "ID PARENT MAJ:MIN ROOT MOUNTPOINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS"
std::optional<MountedHere> parse_mountinfo(const std::string& line) {
  std::istringstream words(line);
  std::string skipped;
  std::string mountpoint;
  words >> skipped >> skipped >> skipped >> skipped >> mountpoint;
  const std::size_t separator = line.find(" - ");
  if (mountpoint.empty() || separator == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream rest(line.substr(separator + 3));
  MountedHere mounted;
  rest >> mounted.type;
  mounted.path = decode_octal(mountpoint);
  return mounted;
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

Result<std::optional<MountedHere>> find_mount(const std::string& path) {
  std::array<char, PATH_MAX> resolved{};
  // A slash at the end would ask the root of the mount what it is: ENOTCONN where its daemon died.
  const std::size_t end = path.find_last_not_of('/');
  const std::string bare = end == std::string::npos ? path : path.substr(0, end + 1);
  if (::realpath(bare.c_str(), resolved.data()) == nullptr) {
    return Errno{errno};
  }
  std::ifstream mounts("/proc/self/mountinfo");
  std::optional<MountedHere> top;  // later lines lie over earlier ones
  for (std::string line; std::getline(mounts, line);) {
    if (auto mounted = parse_mountinfo(line); mounted && mounted->path == resolved.data()) {
      top = std::move(mounted);
    }
  }
  return top;
}

Status unmount_directly(const std::string& path, UnmountMode mode) {
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
