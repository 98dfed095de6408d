// "/proc/self/fd/N[/name]": how calls without an fd form reach an O_PATH handle.
#pragma once

#include <cstdio>

#include "sys/unique_fd.h"

namespace plyfs::sys {

class ProcPath {
 public:
  explicit ProcPath(ObjectRef object) {
    (void)std::snprintf(path_, sizeof path_,
                        object.by_fd() ? "/proc/self/fd/%d%s" : "/proc/self/fd/%d/%s",
                        object.dir.get(), object.name);
  }
  [[nodiscard]] const char* c_str() const { return path_; }

 private:
  char path_[304];
};

}  // namespace plyfs::sys
