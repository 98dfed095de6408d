#include "image/repair.h"

#include <string>

#include "dump/directory.h"
#include "layer/format.h"
#include "layer/upper_writer.h"
#include "layer/workdir.h"
#include "sys/creds.h"
#include "sys/layer_root.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::image {
namespace {

Status remove_whiteout(layer::UpperWriter& writer, const layer::Layer& upper,
                       const dump::Finding& finding) {
  const std::size_t slash = finding.path.rfind('/');
  const std::string above = slash == std::string::npos ? "" : finding.path.substr(0, slash);
  const std::string name = finding.path.substr(slash + 1);
  const sys::UniqueFd directory = TRY(dump::open_in_layer(upper, above));
  return writer.unlink_file(
      directory.borrow(),
      (finding.family == WhiteoutFamily::kAufs ? layer::aufs_whiteout_name(name) : name).c_str());
}

Status remove_left_over(layer::UpperWriter& writer, sys::BorrowedFd staging,
                        const std::string& name) {
  if (TRY(sys::stat_object({staging, name.c_str()})).is_directory()) {
    const sys::UniqueFd directory = TRY(sys::open_directory_at(staging, name.c_str()));
    TRY(layer::empty_directory(writer, directory.borrow()));
    return writer.remove_directory(staging, name.c_str());
  }
  return writer.unlink_file(staging, name.c_str());
}

}  // namespace

Result<std::size_t> repair(const dump::OpenStack& stack,
                           const std::vector<dump::Finding>& findings) {
  const layer::Layer& upper = stack.layers()[layer::kUpper];
  const sys::UniqueFd upper_lock = TRY(sys::open_listing({upper.root.borrow(), ""}));
  TRY(sys::lock_directory(upper_lock.borrow(), 0));
  layer::UpperWriter writer{sys::current_privileges().dac_override
                                ? layer::UpperWriter::Rights::kPrivileged
                                : layer::UpperWriter::Rights::kOwnerOnly};
  std::size_t removed = 0;
  for (const dump::Finding& finding : findings) {
    if (finding.weight != dump::Weight::kRepairable) {
      continue;
    }
    if (finding.problem == dump::Problem::kLeftOver) {
      const std::string staging_path = *stack.options().work + "/work";
      const sys::UniqueFd staging = TRY(sys::open_directory_path(staging_path.c_str()));
      TRY(remove_left_over(writer, staging.borrow(), finding.path));
    } else if (finding.problem == dump::Problem::kDanglingIndexEntry) {
      TRY(writer.unlink_file(stack.index(), finding.path.c_str()));
    } else {
      TRY(remove_whiteout(writer, upper, finding));
    }
    ++removed;
  }
  return removed;
}

}  // namespace plyfs::image
