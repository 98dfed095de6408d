#include "sys/terminal.h"

#include <unistd.h>

namespace plyfs::sys {

bool is_terminal(BorrowedFd fd) { return ::isatty(fd.get()) == 1; }

}  // namespace plyfs::sys
