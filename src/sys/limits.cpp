#include "sys/limits.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "sys/unique_fd.h"

namespace plyfs::sys {
namespace {

/// Returns the soft limit that holds now.
rlim_t raise(__rlimit_resource resource, rlim_t unknown) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) {
    return unknown;
  }
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(resource, &limit) != 0) {
      (void)::getrlimit(resource, &limit);
    }
  }
  return limit.rlim_cur;
}

}  // namespace

std::size_t raise_limits() {
  constexpr rlim_t kUsualFds = 1024;
  (void)raise(RLIMIT_FSIZE, RLIM_INFINITY);
  (void)raise(RLIMIT_CPU, RLIM_INFINITY);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  return static_cast<std::size_t>(raise(RLIMIT_NOFILE, kUsualFds));
}

void reserve_fds(std::size_t count) {
  // Any descriptor will do: the number is what counts.
  const UniqueFd any{::open("/", O_PATH | O_CLOEXEC)};
  if (any.valid()) {
    const UniqueFd high{::fcntl(any.borrow().get(), F_DUPFD_CLOEXEC, static_cast<int>(count) - 1)};
  }
}

}  // namespace plyfs::sys
