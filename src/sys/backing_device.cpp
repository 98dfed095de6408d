#include "sys/backing_device.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "base/log.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {
namespace {

constexpr int kSetIoFlusher = 57;  // PR_SET_IO_FLUSHER, Linux 5.6

void set(const std::string& file, std::string_view value) {
  const UniqueFd opened{::open(file.c_str(), O_WRONLY | O_CLOEXEC)};
  if (opened.valid() && ::write(opened.borrow().get(), value.data(), value.size()) < 0) {
    log::write(log::Level::kInfo, file + ": " + Errno{errno}.message());
  }
}

}  // namespace

void widen_page_cache(dev_t device) {
  const std::string directory =
      "/sys/class/bdi/" + std::to_string(major(device)) + ':' + std::to_string(minor(device)) + '/';
  (void)::prctl(kSetIoFlusher, 1, 0, 0, 0);
  set(directory + "read_ahead_kb", "1024");
  set(directory + "strict_limit", "0");
}

}  // namespace plyfs::sys
