#include "layer/upper_abilities.h"

#include "layer/format.h"
#include "sys/dir_ops.h"
#include "sys/object_stat.h"

namespace plyfs::layer {
namespace {

bool can_mark(Workdir& workdir, const StagedEntry& directory, XattrNamespace space) {
  return workdir.writer()
      .set_xattr(directory.object(), mark_name(space, Mark::kImpure), "y", 0)
      .has_value();
}

bool can_make_whiteout_device(Workdir& workdir, const StagedEntry& device) {
  if (!workdir.writer().make_node(device.directory(), device.name(), kTypeChar, 0)) {
    return false;
  }
  // Some network filesystems accept mknod and then show something else.
  const auto stat = sys::stat_object(device.object());
  return stat && stat->is_whiteout_device();
}

bool can_rename_with(Workdir& workdir, unsigned flags) {
  const StagedEntry from = workdir.stage();
  const StagedEntry to = workdir.stage();
  if (!workdir.writer().create_file(from.directory(), from.name(), 0600) ||
      !workdir.writer().create_file(to.directory(), to.name(), 0600)) {
    return false;
  }
  return workdir.writer()
      .rename_entry(from.directory(), from.name(), to.directory(), to.name(), flags)
      .has_value();
}

}  // namespace

Result<UpperAbilities> probe_upper(Workdir& workdir, WhiteoutFamily family,
                                   XattrNamespace xattr_namespace) {
  UpperAbilities found;
  {
    const StagedEntry directory = workdir.stage();
    TRY(workdir.writer().make_directory(directory.directory(), directory.name(), 0700));
    for (const XattrNamespace space : {XattrNamespace::kTrusted, XattrNamespace::kUser}) {
      const bool wanted = xattr_namespace == XattrNamespace::kProbe || xattr_namespace == space;
      if (wanted && !found.marks && can_mark(workdir, directory, space)) {
        found.marks = space;
      }
    }
  }
  if (xattr_namespace != XattrNamespace::kProbe && !found.marks) {
    return Errno{EPERM};
  }
  bool devices = false;
  {
    const StagedEntry device = workdir.stage();
    devices = can_make_whiteout_device(workdir, device);
  }
  found.exchange = can_rename_with(workdir, sys::kRenameExchange);
  found.rename_whiteout = devices && can_rename_with(workdir, sys::kRenameWhiteout);
  if (family == WhiteoutFamily::kProbe) {
    found.whiteouts = devices && found.marks ? WhiteoutFamily::kChar : WhiteoutFamily::kAufs;
    return found;
  }
  if ((family == WhiteoutFamily::kChar && !devices) ||
      (family == WhiteoutFamily::kXattr && !found.marks)) {
    return Errno{EOPNOTSUPP};
  }
  found.whiteouts = family;
  return found;
}

}  // namespace plyfs::layer
