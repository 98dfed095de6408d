// The callback table: decode, verb, reply. Nothing else happens here.
#pragma once

#include <fuse_lowlevel.h>

#include <string>

#include "ops/filesystem.h"
#include "volume/mount_points.h"
#include "volume/tree.h"

namespace plyfs::fuse {

class BackedFiles;
class Flusher;

/// What the callbacks get as their user data. Outlives the session.
struct Dispatcher {
  ops::FileSystem* filesystem = nullptr;
  double timeout_s = 0;
  bool writeback = false;
  bool acl = false;
  volume::VolumeTree* volumes = nullptr;              ///< null: the mount has none
  const volume::MountPoints* mount_points = nullptr;  ///< null: the mount has no volumes
  bool answer_opens = false;                          ///< OPEN says how a file is cached (D-039)
  bool answer_flushes = false;  ///< some volume's filesystem wants to know of closes (D-057)
  BackedFiles* backed_files = nullptr;  ///< passthrough is wanted; after INIT: in force
  bool live_volumes = false;            ///< others change what this connection serves
  bool maps_direct_io = false;  ///< from INIT on: files past the page cache may be mapped shared
  fuse_session* session = nullptr;
  Flusher* flusher = nullptr;  ///< while the session serves
};

const fuse_lowlevel_ops& callbacks();

}  // namespace plyfs::fuse
