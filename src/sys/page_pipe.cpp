#include "sys/page_pipe.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace plyfs::sys {

Result<PagePipe> PagePipe::make() {
  constexpr int kPipeBytes = 1024 * 1024;  // what pipe-max-size allows everybody
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return Errno{errno};
  }
  PagePipe made{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
  if (::fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes) < 0) {
    return Errno{errno};
  }
  return made;
}

bool PagePipe::send(int device, const iovec& header, BorrowedFd file, std::int64_t offset,
                    std::size_t size_bytes) {
  const int in = in_.borrow().get();
  if (::writev(in, &header, 1) != static_cast<ssize_t>(header.iov_len)) {
    return false;
  }
  off64_t at = offset;
  for (std::size_t done = 0; done < size_bytes;) {
    const ssize_t got = ::splice(file.get(), &at, in, nullptr, size_bytes - done, 0);
    if (got <= 0) {
      return false;
    }
    done += static_cast<std::size_t>(got);
  }
  struct stat now {};
  if (::fstat(file.get(), &now) != 0 || now.st_size < at) {
    return false;  // beyond its end the pages are those of before
  }
  // Without SPLICE_F_MOVE, which would take the pages away from the file.
  const std::size_t all = header.iov_len + size_bytes;
  return ::splice(out_.borrow().get(), nullptr, device, nullptr, all, 0) ==
         static_cast<ssize_t>(all);
}

}  // namespace plyfs::sys
