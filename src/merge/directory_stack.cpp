#include "merge/directory_stack.h"

namespace plyfs::merge {
namespace {

template <typename Open>
Result<sys::FdPin> enter(DirectoryPart& part, const Open& open) {
  if (part.boundary.load(std::memory_order_relaxed) == Boundary::kEmpty) {
    return sys::FdPin{};
  }
  const bool first = part.unopened.load(std::memory_order_relaxed);
  Result<sys::FdPin> opened = open();
  if (first && opened) {
    part.unopened = false;
  } else if (first && opened.error() == EXDEV) {
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
  return enter(directory.parts()[index], [&] { return directory.open_part(index); });
}

Result<sys::FdPin> enter_part_to_list(DirectoryAccess& directory, std::size_t index,
                                      sys::QuietReads* quiet) {
  return enter(directory.parts()[index], [&] { return directory.open_to_list(index, quiet); });
}

Result<bool> hides_below(DirectoryAccess& directory, std::size_t index) {
  DirectoryPart& part = directory.parts()[index];
  OpaqueFile known = part.opaque_file.load(std::memory_order_relaxed);
  if (known == OpaqueFile::kUnasked) {
    const sys::FdPin handle = TRY(enter_part(directory, index));
    const bool there = handle && TRY(layer::has_aufs_opaque(
                                     {handle->borrow(), ""}, part.aufs,
                                     layer::Reading{.lift_mode = part.layer == layer::kUpper}));
    known = there ? OpaqueFile::kYes : OpaqueFile::kNo;
    part.opaque_file = known;
  }
  return known == OpaqueFile::kYes;
}

}  // namespace plyfs::merge
