// The outcome of a system call that returns 0 or -1. For this room only.
#pragma once

#include <cerrno>

#include "plyfs/result.h"

namespace plyfs::sys {

inline Status checked(int result) {
  if (result != 0) {
    return Errno{errno};
  }
  return {};
}

}  // namespace plyfs::sys
