// What the kernel's message says and libfuse 3.14 does not pass on. Read from the wire by
// fuse/session for the request that this thread is serving.
#pragma once

#include <cstdint>

namespace plyfs::fuse {

struct RawRequest {
  std::uint32_t opcode = 0;
  std::uint32_t offered_flags = 0;  ///< FUSE_INIT: what the kernel can do
  bool kill_suid_sgid = false;      ///< WRITE and SETATTR under FUSE_HANDLE_KILLPRIV_V2
  bool from_page_cache = false;     ///< WRITE of the kernel's writeback
  bool times_of_cache = false;      ///< SETATTR of mtime and ctime alone: the kernel's cached ones
  bool failed = false;              ///< the reply was an error
  bool unnamed = false;             ///< FUSE_TMPFILE, handed to libfuse as a CREATE
};

/// Of the request being served by the calling thread.
RawRequest& raw_request();

/// The clone of /dev/fuse whose request the calling thread serves: its reply must leave there.
int& thread_device();

}  // namespace plyfs::fuse
