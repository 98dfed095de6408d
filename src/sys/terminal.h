// What a terminal is, and how wide.
#pragma once

#include "sys/unique_fd.h"

namespace plyfs::sys {

bool is_terminal(BorrowedFd fd);

}  // namespace plyfs::sys
