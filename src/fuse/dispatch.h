// The callback table: decode, verb, reply. Nothing else happens here.
#pragma once

#include <fuse_lowlevel.h>

#include "ops/filesystem.h"

namespace plyfs::fuse {

class Flusher;

/// What the callbacks get as their user data. Outlives the session.
struct Dispatcher {
  ops::FileSystem* filesystem = nullptr;
  double timeout_s = 0;
  bool writeback = false;
  bool acl = false;
  Flusher* flusher = nullptr;  ///< while the session serves
};

const fuse_lowlevel_ops& callbacks();

}  // namespace plyfs::fuse
