#include "image/replace_directory.h"

#include "image/target_file.h"
#include "layer/upper_writer.h"
#include "layer/workdir.h"
#include "sys/dir_ops.h"
#include "sys/open.h"

namespace plyfs::image {

Status replace_directory(const std::string& target, const std::string& replacement) {
  layer::UpperWriter writer{layer::UpperWriter::Rights::kOwnerOnly};
  const TargetPlace old = TRY(place_of(target));
  const TargetPlace fresh = TRY(place_of(replacement));
  TRY(writer.rename_entry(fresh.directory.borrow(), fresh.name.c_str(), old.directory.borrow(),
                          old.name.c_str(), sys::kRenameExchange));
  {
    const sys::UniqueFd removed =
        TRY(sys::open_directory_at(fresh.directory.borrow(), fresh.name.c_str()));
    TRY(layer::empty_directory(writer, removed.borrow()));
  }
  return writer.remove_directory(fresh.directory.borrow(), fresh.name.c_str());
}

}  // namespace plyfs::image
