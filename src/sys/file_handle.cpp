#include "sys/file_handle.h"

#include <fcntl.h>

namespace plyfs::sys {

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

}  // namespace plyfs::sys
