#include "merge/directory_stack.h"

#include <utility>

namespace plyfs::merge {
namespace {

Result<sys::FdPin> entered(DirectoryPart& part, Result<sys::FdPin> opened) {
  if (!part.unopened.load(std::memory_order_relaxed)) {
    return opened;
  }
  if (opened) {
    part.unopened = false;
  } else if (opened.error() == EXDEV) {
    part.boundary = Boundary::kEmpty;
    return sys::FdPin{};
  }
  return opened;
}

}  // namespace

Result<sys::FdPin> DirectoryAccess::open_to_list(std::size_t index, sys::QuietReads* quiet) {
  const sys::FdPin handle = TRY(open_part(index));
  return std::make_shared<const sys::UniqueFd>(
      TRY(sys::open_listing_quietly({handle->borrow(), ""}, quiet)));
}

Result<sys::FdPin> enter_part(DirectoryAccess& directory, std::size_t index) {
  DirectoryPart& part = directory.parts()[index];
  return part.boundary.load(std::memory_order_relaxed) == Boundary::kEmpty
             ? sys::FdPin{}
             : entered(part, directory.open_part(index));
}

Result<sys::FdPin> enter_part_to_list(DirectoryAccess& directory, std::size_t index,
                                      sys::QuietReads* quiet) {
  DirectoryPart& part = directory.parts()[index];
  return part.boundary.load(std::memory_order_relaxed) == Boundary::kEmpty
             ? sys::FdPin{}
             : entered(part, directory.open_to_list(index, quiet));
}

Result<bool> hides_below(DirectoryAccess& directory, std::size_t index) {
  DirectoryPart& part = directory.parts()[index];
  OpaqueFile known = part.opaque_file.load(std::memory_order_relaxed);
  if (known == OpaqueFile::kUnasked) {
    const sys::FdPin handle = TRY(enter_part(directory, index));
    const bool there = handle && TRY(layer::has_aufs_opaque({handle->borrow(), ""}, part.aufs));
    known = there ? OpaqueFile::kYes : OpaqueFile::kNo;
    part.opaque_file = known;
  }
  return known == OpaqueFile::kYes;
}

}  // namespace plyfs::merge
