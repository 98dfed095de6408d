#include "layer/link_index.h"

#include <utility>

#include "layer/origin.h"
#include "sys/object_stat.h"

namespace plyfs::layer {

Result<std::optional<IndexedCopy>> find_indexed(sys::BorrowedFd index, const Layer& layer,
                                                sys::ObjectRef object, Reading reading) {
  const auto origin = TRY(encode_origin(layer, object));
  return origin ? find_indexed(index, *origin, reading) : std::optional<IndexedCopy>{};
}

Result<std::optional<IndexedCopy>> find_indexed(sys::BorrowedFd index, const std::string& origin,
                                                Reading reading) {
  IndexedCopy copy;
  copy.name = index_name(origin);
  const sys::ObjectRef entry{index, copy.name.c_str()};
  const auto stat = sys::stat_object(entry);
  if (!stat) {
    const bool absent = stat.error() == ENOENT || stat.error() == ENAMETOOLONG;
    return absent ? Result<std::optional<IndexedCopy>>{std::optional<IndexedCopy>{}}
                  : Result<std::optional<IndexedCopy>>{stat.error()};
  }
  copy.stat = *stat;
  copy.marks = TRY(read_file_marks(entry, reading));
  return std::optional<IndexedCopy>{std::move(copy)};
}

}  // namespace plyfs::layer
