#include "sys/file_handle.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cstring>

namespace plyfs::sys {
namespace {

// struct fsuuid2 of <linux/fs.h>, Linux 6.9.
struct FsUuid {
  std::uint8_t size;
  std::uint8_t uuid[16];
};
constexpr unsigned long kGetFsUuid = _IOR(0x15, 0, FsUuid);

}  // namespace

Result<std::optional<FileHandle>> file_handle(ObjectRef object) {
  alignas(struct ::file_handle) char storage[sizeof(struct ::file_handle) + MAX_HANDLE_SZ];
  auto* handle = reinterpret_cast<struct ::file_handle*>(storage);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id = 0;
  if (::name_to_handle_at(object.dir.get(), object.name, handle, &mount_id, AT_EMPTY_PATH) != 0) {
    if (errno == EOPNOTSUPP || errno == EOVERFLOW) {
      return std::optional<FileHandle>{};
    }
    return Errno{errno};
  }
  FileHandle result;
  result.type = handle->handle_type;
  result.bytes.assign(reinterpret_cast<const char*>(handle->f_handle), handle->handle_bytes);
  return std::optional<FileHandle>{std::move(result)};
}

std::optional<std::array<std::uint8_t, 16>> filesystem_uuid(BorrowedFd fd) {
  FsUuid raw{};
  if (::ioctl(fd.get(), kGetFsUuid, &raw) != 0 || raw.size != 16) {
    return std::nullopt;
  }
  std::array<std::uint8_t, 16> uuid{};
  std::memcpy(uuid.data(), raw.uuid, uuid.size());
  return uuid;
}

}  // namespace plyfs::sys
