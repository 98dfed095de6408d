#include "fuse/wire.h"

#include <fuse_lowlevel.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace plyfs::fuse {
namespace {

constexpr std::uint32_t kOpenPassthrough = 1U << 7;  // FOPEN_PASSTHROUGH, Linux 6.9
constexpr std::size_t kMaxStackDepthAt = 36;         // fuse_init_out::max_stack_depth
static_assert(offsetof(fuse_init_out, flags2) + sizeof(fuse_init_out::flags2) == kMaxStackDepthAt);

template <typename Body>
Body body_of(const char* message, std::size_t size) {
  Body body{};
  if (size > sizeof(fuse_in_header)) {
    std::memcpy(&body, message + sizeof(fuse_in_header),
                std::min(sizeof body, size - sizeof(fuse_in_header)));
  }
  return body;
}

/// Takes out of a SETXATTR the part that libfuse 3.14 does not know. The message then begins later.
void shorten_setxattr(std::span<char>& message, RawRequest& raw) {
  constexpr std::size_t kMore = sizeof(fuse_setxattr_in) - FUSE_COMPAT_SETXATTR_IN_SIZE;
  constexpr std::size_t kBefore = sizeof(fuse_in_header) + FUSE_COMPAT_SETXATTR_IN_SIZE;
  if (message.size() < kBefore + kMore) {
    return;
  }
  raw.outside_of_group = (body_of<fuse_setxattr_in>(message.data(), message.size()).setxattr_flags &
                          FUSE_SETXATTR_ACL_KILL_SGID) != 0;
  fuse_in_header header = header_of(message.data());
  header.len -= std::uint32_t{kMore};
  std::memcpy(message.data(), &header, sizeof header);
  std::memmove(message.data() + kMore, message.data(), kBefore);
  message = message.subspan(kMore);
}

}  // namespace

fuse_in_header header_of(const char* message) {
  fuse_in_header header{};
  std::memcpy(&header, message, sizeof header);
  return header;
}

bool is_forget(std::uint32_t opcode) {
  return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET;
}

void accept_more(const RawRequest& raw, const iovec& reply) {
  fuse_init_out out{};
  if (reply.iov_len < sizeof out) {
    return;
  }
  std::memcpy(&out, reply.iov_base, sizeof out);
  if ((raw.offered_flags & FUSE_HANDLE_KILLPRIV_V2) != 0) {
    out.flags = (out.flags & ~std::uint32_t{FUSE_HANDLE_KILLPRIV}) | FUSE_HANDLE_KILLPRIV_V2;
  }
  out.flags |= static_cast<std::uint32_t>(raw.offered_flags & FUSE_SETXATTR_EXT);
  const std::uint64_t more = (raw.offered_flags & kDirectIoAllowMmap) |
                             (raw.use_rings ? kOverIoUring : 0) |
                             (raw.use_passthrough ? kPassthrough : 0);
  if (more != 0) {
    out.flags2 = (out.flags & FUSE_INIT_EXT) != 0 ? out.flags2 : 0;
    out.flags |= FUSE_INIT_EXT;
    out.flags2 |= static_cast<std::uint32_t>(more >> 32);
  }
  std::memcpy(reply.iov_base, &out, sizeof out);
  if (raw.use_passthrough) {
    // One: backing files lie on filesystems that are not stacked, and overlayfs may be mounted over
    // us.
    constexpr std::uint32_t kDepth = 1;
    std::memcpy(static_cast<char*>(reply.iov_base) + kMaxStackDepthAt, &kDepth, sizeof kDepth);
  }
}

void name_backing(std::int32_t backing, const iovec& reply) {
  fuse_open_out out{};
  if (reply.iov_len < sizeof out) {
    return;
  }
  void* const at = static_cast<char*>(reply.iov_base) + (reply.iov_len - sizeof out);
  std::memcpy(&out, at, sizeof out);
  out.open_flags |= kOpenPassthrough;
  std::memcpy(at, &out, sizeof out);
  // The last member, which was padding before Linux 6.9.
  std::memcpy(static_cast<char*>(at) + (sizeof out - sizeof backing), &backing, sizeof backing);
}

RawRequest inspect(std::span<char>& bytes, bool long_setxattr) {
  char* const message = bytes.data();
  const std::size_t size = bytes.size();
  RawRequest raw;
  fuse_in_header header{};
  std::memcpy(&header, message, std::min(size, sizeof header));
  raw.opcode = header.opcode;
  raw.unique = header.unique;
  switch (header.opcode) {
    case FUSE_INIT:
      raw.offered_flags = body_of<fuse_init_in>(message, size).flags;
      if ((raw.offered_flags & FUSE_INIT_EXT) != 0) {
        raw.offered_flags |= std::uint64_t{body_of<fuse_init_in>(message, size).flags2} << 32;
      }
      break;
    case FUSE_WRITE:
      raw.kill_suid_sgid =
          (body_of<fuse_write_in>(message, size).write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
      raw.from_page_cache =
          (body_of<fuse_write_in>(message, size).write_flags & FUSE_WRITE_CACHE) != 0;
      break;
    case FUSE_SETATTR: {
      const std::uint32_t valid =
          body_of<fuse_setattr_in>(message, size).valid & ~std::uint32_t{FATTR_FH};
      raw.kill_suid_sgid = (valid & FATTR_KILL_SUIDGID) != 0;
      raw.times_of_cache = valid == (FATTR_MTIME | FATTR_CTIME);
      break;
    }
    case FUSE_OPEN:
      raw.kill_suid_sgid =
          (body_of<fuse_open_in>(message, size).open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
      break;
    case FUSE_SETXATTR:
      if (long_setxattr) {
        shorten_setxattr(bytes, raw);
      }
      break;
    case FUSE_TMPFILE:
      raw.unnamed = true;
      header.opcode = FUSE_CREATE;
      std::memcpy(message, &header, sizeof header);
      break;
    default:
      break;
  }
  return raw;
}

}  // namespace plyfs::fuse
