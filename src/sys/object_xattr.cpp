#include "sys/object_xattr.h"

#include <fcntl.h>
#include <linux/types.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>

#include "sys/proc_path.h"

namespace plyfs::sys {
namespace {

// getxattrat(2) and its family, Linux 6.13. Debian 12's headers do not know them.
#if !defined(SYS_getxattrat)
constexpr long kSetXattrAt = 463;
constexpr long kGetXattrAt = 464;
constexpr long kListXattrAt = 465;
constexpr long kRemoveXattrAt = 466;
#else
constexpr long kSetXattrAt = SYS_setxattrat;
constexpr long kGetXattrAt = SYS_getxattrat;
constexpr long kListXattrAt = SYS_listxattrat;
constexpr long kRemoveXattrAt = SYS_removexattrat;
#endif

struct XattrArguments {
  alignas(8) std::uint64_t value;
  std::uint32_t size;
  std::uint32_t flags;
};

constexpr unsigned kAtFlags = AT_SYMLINK_NOFOLLOW;

// Whether the kernel has the *at calls: asked once, by the first call that gets ENOSYS (or EPERM
// from an old seccomp filter on the very first one).
std::atomic<bool> at_calls_missing{false};

bool missing(long result) {
  if (result >= 0 || errno != ENOSYS) {
    return false;
  }
  at_calls_missing.store(true, std::memory_order_relaxed);
  return true;
}

// By descriptor alone they refuse O_PATH handles (EBADF).
bool use_at_calls(ObjectRef object) {
  return !object.by_fd() && !at_calls_missing.load(std::memory_order_relaxed);
}

long get_call(ObjectRef object, const char* name, void* value, std::size_t size_bytes) {
  if (use_at_calls(object)) {
    XattrArguments arguments{reinterpret_cast<std::uint64_t>(value),
                             static_cast<std::uint32_t>(size_bytes), 0};
    const long got = ::syscall(kGetXattrAt, object.dir.get(), object.name, kAtFlags, name,
                               &arguments, sizeof arguments);
    if (!missing(got)) {
      return got;
    }
  }
  if (object.by_fd()) {
    const long got = ::fgetxattr(object.dir.get(), name, value, size_bytes);
    if (got >= 0 || errno != EBADF) {
      return got;
    }
  }
  const ProcPath path{object};
  return object.by_fd() ? ::getxattr(path.c_str(), name, value, size_bytes)
                        : ::lgetxattr(path.c_str(), name, value, size_bytes);
}

long list_call(ObjectRef object, char* names, std::size_t size_bytes) {
  if (use_at_calls(object)) {
    const long got =
        ::syscall(kListXattrAt, object.dir.get(), object.name, kAtFlags, names, size_bytes);
    if (!missing(got)) {
      return got;
    }
  }
  if (object.by_fd()) {
    const long got = ::flistxattr(object.dir.get(), names, size_bytes);
    if (got >= 0 || errno != EBADF) {
      return got;
    }
  }
  const ProcPath path{object};
  return object.by_fd() ? ::listxattr(path.c_str(), names, size_bytes)
                        : ::llistxattr(path.c_str(), names, size_bytes);
}

constexpr std::size_t kFirstTry = 256;

// Calls `call(buffer, size)` until the buffer is large enough.
template <typename Call>
Result<std::string> grow_until_it_fits(Call call) {
  std::string buffer(kFirstTry, '\0');
  for (;;) {
    const long got = call(buffer.data(), buffer.size());
    if (got >= 0) {
      buffer.resize(static_cast<std::size_t>(got));
      return buffer;
    }
    if (errno != ERANGE) {
      return Errno{errno};
    }
    const long needed = call(nullptr, 0);
    if (needed < 0) {
      return Errno{errno};
    }
    buffer.resize(static_cast<std::size_t>(needed) + kFirstTry);
  }
}

}  // namespace

Result<std::size_t> get_xattr_raw(ObjectRef object, const char* name, void* value,
                                  std::size_t size_bytes) {
  const long got = get_call(object, name, value, size_bytes);
  if (got < 0) {
    return Errno{errno};
  }
  return static_cast<std::size_t>(got);
}

Result<std::optional<std::string>> get_xattr(ObjectRef object, const char* name) {
  auto value = grow_until_it_fits(
      [&](void* buffer, std::size_t size) { return get_call(object, name, buffer, size); });
  if (value) {
    return std::optional<std::string>{std::move(*value)};
  }
  if (value.error() == ENODATA || value.error() == EOPNOTSUPP) {
    return std::optional<std::string>{};
  }
  return value.error();
}

Status set_xattr(ObjectRef object, const char* name, std::string_view value, int flags) {
  if (use_at_calls(object)) {
    XattrArguments arguments{reinterpret_cast<std::uint64_t>(value.data()),
                             static_cast<std::uint32_t>(value.size()),
                             static_cast<std::uint32_t>(flags)};
    const long result = ::syscall(kSetXattrAt, object.dir.get(), object.name, kAtFlags, name,
                                  &arguments, sizeof arguments);
    if (!missing(result)) {
      return result == 0 ? Status{} : Status{Errno{errno}};
    }
  }
  if (object.by_fd()) {
    if (::fsetxattr(object.dir.get(), name, value.data(), value.size(), flags) == 0) {
      return {};
    }
    if (errno != EBADF) {
      return Errno{errno};
    }
  }
  const ProcPath path{object};
  const int result = object.by_fd()
                         ? ::setxattr(path.c_str(), name, value.data(), value.size(), flags)
                         : ::lsetxattr(path.c_str(), name, value.data(), value.size(), flags);
  return result == 0 ? Status{} : Status{Errno{errno}};
}

Status remove_xattr(ObjectRef object, const char* name) {
  if (use_at_calls(object)) {
    const long result = ::syscall(kRemoveXattrAt, object.dir.get(), object.name, kAtFlags, name);
    if (!missing(result)) {
      return result == 0 ? Status{} : Status{Errno{errno}};
    }
  }
  const ProcPath path{object};
  const int result =
      object.by_fd() ? ::removexattr(path.c_str(), name) : ::lremovexattr(path.c_str(), name);
  return result == 0 ? Status{} : Status{Errno{errno}};
}

Result<std::string> list_xattrs(ObjectRef object) {
  auto names = grow_until_it_fits(
      [&](char* buffer, std::size_t size) { return list_call(object, buffer, size); });
  if (!names && names.error() == EOPNOTSUPP) {
    return std::string{};
  }
  return names;
}

}  // namespace plyfs::sys
