#include "layer/upper_abilities.h"

#include <string>

#include "layer/format.h"
#include "layer/marks.h"
#include "sys/dir_ops.h"
#include "sys/object_stat.h"

namespace plyfs::layer {
namespace {

/// Another union takes marks and keeps them to itself: only what is read back counts.
bool can_mark(Workdir& workdir, const StagedEntry& directory, XattrNamespace space) {
  if (!workdir.writer().set_xattr(directory.object(), mark_name(space, Mark::kImpure), "y", 0)) {
    return false;
  }
  const auto marks = read_dir_marks(directory.object(), Reading{});
  return marks && marks->impure;
}

bool can_make_whiteout_device(Workdir& workdir, const StagedEntry& device) {
  if (!workdir.writer().make_node(device.directory(), device.name(), kTypeChar, 0)) {
    return false;
  }
  // Some network filesystems accept mknod and then show something else.
  const auto stat = sys::stat_object(device.object());
  return stat && stat->is_whiteout_device();
}

/// Other unions keep `.wh.` names to themselves.
bool can_make_aufs_whiteout(Workdir& workdir) {
  const std::string name = aufs_whiteout_name("probe");
  UpperWriter& writer = workdir.writer();
  return writer.create_file(workdir.staging(), name.c_str(), 0444).has_value() &&
         sys::stat_object({workdir.staging(), name.c_str()}).has_value() &&
         writer.unlink_file(workdir.staging(), name.c_str()).has_value();
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

/// Linux 6.13, "multigrain timestamps": a directory that somebody looks at between two changes gets
/// a time of its own, and from then on nothing gets an earlier one.
bool has_fine_times(Workdir& workdir) {
  const sys::ObjectRef directory{workdir.staging(), ""};
  if (!sys::stat_object(directory)) {
    return false;
  }
  const StagedEntry file = workdir.stage();
  if (!workdir.writer().create_file(file.directory(), file.name(), 0600)) {
    return false;
  }
  const auto made = sys::stat_object(file.object());
  const auto changed = sys::stat_object(directory);
  return made && changed && changed->mtime.tv_nsec != made->mtime.tv_nsec;
}

}  // namespace

Result<UpperAbilities> probe_upper(Workdir& workdir, WhiteoutFamily family,
                                   XattrNamespace xattr_namespace, const MarkRules& rules) {
  UpperAbilities found;
  {
    const StagedEntry directory = workdir.stage();
    TRY(workdir.writer().make_directory(directory.directory(), directory.name(), 0700));
    for (const XattrNamespace space : {XattrNamespace::kTrusted, XattrNamespace::kUser}) {
      const bool wanted = xattr_namespace == XattrNamespace::kProbe || xattr_namespace == space;
      const bool read = space == XattrNamespace::kTrusted || rules.user;
      if (wanted && read && !found.marks && can_mark(workdir, directory, space)) {
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
  found.fine_times = has_fine_times(workdir);
  found.exchange = can_rename_with(workdir, sys::kRenameExchange);
  found.rename_whiteout = devices && can_rename_with(workdir, sys::kRenameWhiteout);
  if (family == WhiteoutFamily::kProbe && devices && found.marks) {
    found.whiteouts = WhiteoutFamily::kChar;
    return found;
  }
  const bool may_be_aufs = family == WhiteoutFamily::kProbe || family == WhiteoutFamily::kAufs;
  const bool aufs = may_be_aufs && can_make_aufs_whiteout(workdir);
  if (family == WhiteoutFamily::kProbe) {
    family = aufs ? WhiteoutFamily::kAufs : WhiteoutFamily::kXattr;
  }
  if ((family == WhiteoutFamily::kChar && !devices) ||
      (family == WhiteoutFamily::kXattr && !found.marks) ||
      (family == WhiteoutFamily::kAufs && !aufs)) {
    return Errno{EOPNOTSUPP};
  }
  found.whiteouts = family;
  return found;
}

}  // namespace plyfs::layer
