#include "sys/layer_root.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::sys {
namespace {

#if defined(SYS_open_tree)
constexpr long kOpenTree = SYS_open_tree;
#else
constexpr long kOpenTree = 428;
#endif
constexpr unsigned kOpenTreeClone = 1;

}  // namespace

Result<UniqueFd> open_layer_root(const std::string& path) {
  UniqueFd plain = TRY(open_directory_path(path.c_str()));
  UniqueFd clone{static_cast<int>(
      ::syscall(kOpenTree, plain.borrow().get(), "",
                kOpenTreeClone | static_cast<unsigned>(O_CLOEXEC) | AT_EMPTY_PATH))};
  return clone.valid() ? std::move(clone) : std::move(plain);
}

Result<std::optional<std::vector<std::string>>> components_below(BorrowedFd root,
                                                                 const std::string& absolute) {
  const FileStat wanted = TRY(stat_object({root, ""}));
  std::size_t end = absolute.size();
  for (;;) {
    const std::string ancestor = end == 0 ? "/" : absolute.substr(0, end);
    const UniqueFd opened = TRY(open_directory_path(ancestor.c_str()));
    const FileStat stat = TRY(stat_object({opened.borrow(), ""}));
    if (stat.dev == wanted.dev && stat.ino == wanted.ino) {
      break;
    }
    if (end == 0) {
      return std::optional<std::vector<std::string>>{};
    }
    end = absolute.rfind('/', end - 1);
  }
  std::vector<std::string> components;
  while (end < absolute.size()) {
    const std::size_t next = std::min(absolute.find('/', end + 1), absolute.size());
    if (next > end + 1) {
      components.push_back(absolute.substr(end + 1, next - end - 1));
    }
    end = next;
  }
  return std::optional<std::vector<std::string>>{std::move(components)};
}

Status lock_directory(BorrowedFd directory, int timeout_ms) {
  constexpr int kStep_ms = 5;
  for (int waited_ms = 0;; waited_ms += kStep_ms) {
    const Status locked = lock_exclusive(directory);
    if (locked || locked.error() != EWOULDBLOCK) {
      return locked;
    }
    if (waited_ms >= timeout_ms) {
      return Errno{EBUSY};
    }
    const timespec step{0, kStep_ms * 1000000L};
    (void)::nanosleep(&step, nullptr);
  }
}

void sleep_ms(int milliseconds) {
  const timespec time{milliseconds / 1000, milliseconds % 1000 * 1000000L};
  (void)::nanosleep(&time, nullptr);
}

}  // namespace plyfs::sys
