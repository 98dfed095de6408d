// What the kernel's message says and libfuse 3.14 does not pass on. Read from the wire by
// fuse/session for the request that this thread is serving.
#pragma once

#include <cstdint>

#include "sys/fuse_ring.h"

namespace plyfs::fuse {

/// FUSE_DIRECT_IO_ALLOW_MMAP of Linux 6.6; Debian 12's header is older.
inline constexpr std::uint64_t kDirectIoAllowMmap = 1ULL << 36;
/// FUSE_PASSTHROUGH of Linux 6.9.
inline constexpr std::uint64_t kPassthrough = 1ULL << 37;

struct RawRequest {
  std::uint32_t opcode = 0;
  std::uint64_t unique = 0;         ///< by which the reply names the request
  std::uint64_t offered_flags = 0;  ///< FUSE_INIT: what the kernel can do
  bool use_rings = false;           ///< FUSE_INIT: io_uring is to be accepted
  bool use_passthrough = false;     ///< FUSE_INIT: passthrough is to be accepted
  std::int32_t backing = 0;         ///< OPEN and CREATE: the reply names this backing file; 0: none
  bool kill_suid_sgid = false;      ///< WRITE, SETATTR and OPEN under FUSE_HANDLE_KILLPRIV_V2
  bool from_page_cache = false;     ///< WRITE of the kernel's writeback
  bool times_of_cache = false;      ///< SETATTR of mtime and ctime alone: the kernel's cached ones
  std::uint64_t answered_ticks = 0;  ///< when the reply was ready; 0: not answered
  bool failed = false;               ///< the reply was an error
  bool outside_of_group = false;     ///< SETXATTR of an ACL: the caller is not in the file's group
  bool unnamed = false;              ///< FUSE_TMPFILE, handed to libfuse as a CREATE
};

/// Of the request being served by the calling thread.
RawRequest& raw_request();

/// The way by which the reply to a request must leave, which is the one by which it came.
struct ReplyPath {
  int device = -1;  ///< a clone of /dev/fuse; notifications leave there always
  sys::FuseRing* ring = nullptr;
  sys::FuseRing::Slot* slot = nullptr;  ///< null once answered, and for a request from `device`
  bool own_ring = true;                 ///< the calling thread is the ring's
  std::uint64_t unique = 0;             ///< of the request: nothing else may leave by this way
};

/// Of the request being served by the calling thread.
ReplyPath& reply_path();

}  // namespace plyfs::fuse
