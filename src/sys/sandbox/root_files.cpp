#include "sys/sandbox/root_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "sys/unique_fd.h"

namespace plyfs::sys::sandbox {

Result<std::string> read_small_file(const char* path) {
  constexpr std::size_t kMost = std::size_t{1} << 20U;
  const UniqueFd file{::open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
  struct stat facts {};
  if (!file.valid() || ::fstat(file.borrow().get(), &facts) != 0) {
    return Errno{errno};
  }
  if (!S_ISREG(facts.st_mode)) {
    return Errno{EINVAL};
  }
  std::string text(kMost, '\0');
  std::size_t size = 0;
  while (size < kMost) {
    const ssize_t got = ::read(file.borrow().get(), text.data() + size, kMost - size);
    if (got < 0 && errno != EINTR) {
      return Errno{errno};
    }
    if (got == 0) {
      break;
    }
    size += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  text.resize(size);
  return text;
}

bool is_program(const std::string& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) &&
         ::access(path.c_str(), X_OK) == 0;
}

}  // namespace plyfs::sys::sandbox
