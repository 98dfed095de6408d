// What went wrong while something was set up, for those who can tell a person what to do.
#pragma once

#include <optional>
#include <string>

#include "plyfs/result.h"

namespace plyfs::sys::sandbox {

struct Trouble {
  std::string what;     ///< "cannot mount"
  std::string subject;  ///< a path, or the name of the call
  Errno error{EIO};
};
/// Nothing: it is done.
using Step = std::optional<Trouble>;

}  // namespace plyfs::sys::sandbox
