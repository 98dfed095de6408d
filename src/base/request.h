// What a request of the kernel says, in POSIX words: shared by everything that answers one.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace plyfs {

/// All that an operation may know of its caller. Ids as in the view.
struct RequestContext {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t umask = 0;
  /// SETXATTR of an ACL: the kernel says that the caller is not in the file's group.
  bool outside_of_group = false;
};

enum class Plus : std::uint8_t {
  kNo,
  kYes,
  kUntold,  ///< not of objects whose attributes a listing told before, if they cannot be other now
};
enum class SyncKind : std::uint8_t { kAll, kData };
enum class PrivilegedWrite : std::uint8_t { kKeepSuid, kKillSuid };
/// kPageCache: the kernel writes back what it has cached, or has it on: it keeps the times itself.
enum class WriteOrigin : std::uint8_t { kCaller, kPageCache };
/// kAppend: the file was opened with O_APPEND. The kernel's idea of where the end is may be old.
enum class WritePlace : std::uint8_t { kAtOffset, kAppend };

/// Where and how something is written.
struct WriteRequest {
  std::int64_t offset = 0;
  std::size_t size_bytes = 0;
  PrivilegedWrite privileged = PrivilegedWrite::kKeepSuid;
  WriteOrigin origin = WriteOrigin::kCaller;
  WritePlace place = WritePlace::kAtOffset;
  bool* took_privileges = nullptr;  ///< if given: set when the write took bits from the mode
};

/// Receives directory entries. add() returns false when there is no more room.
class NameSink {
 public:
  NameSink() = default;
  NameSink(const NameSink&) = delete;
  NameSink& operator=(const NameSink&) = delete;
  virtual ~NameSink() = default;
  virtual bool add(const char* name, std::uint64_t ino, std::uint8_t entry_type,
                   std::uint64_t offset) = 0;
};

}  // namespace plyfs
