#include "layer/whiteouts.h"

#include "layer/format.h"
#include "sys/dir_ops.h"
#include "sys/object_stat.h"

namespace plyfs::layer {
namespace {

constexpr const char* kSharedName = "#whiteout";

}  // namespace

Status Whiteouts::stage_whiteout(const StagedEntry& staged) {
  UpperWriter& writer = workdir_.writer();
  if (abilities_.whiteouts == WhiteoutFamily::kXattr) {
    (void)TRY(writer.create_file(staged.directory(), staged.name(), 0444));
    return writer.set_xattr(staged.object(), mark_name(*abilities_.marks, Mark::kWhiteout), "y", 0);
  }
  TRY(make_shared_whiteout());
  const sys::ObjectRef shared{workdir_.staging(), kSharedName};
  const Status linked = writer.make_link(shared, staged.directory(), staged.name());
  if (linked || (linked.error() != EMLINK && linked.error() != EPERM)) {
    return linked;
  }
  return writer.make_node(staged.directory(), staged.name(), kTypeChar, 0);
}

Status Whiteouts::make_shared_whiteout() {
  if (shared_ready_.load(std::memory_order_acquire)) {
    return {};
  }
  MutexLock lock{shared_mu_};
  if (shared_ready_.load(std::memory_order_relaxed)) {
    return {};
  }
  const Status made = workdir_.writer().make_node(workdir_.staging(), kSharedName, kTypeChar, 0);
  if (!made && made.error() != EEXIST) {
    return made;
  }
  const FileStat stat = TRY(sys::stat_object({workdir_.staging(), kSharedName}));
  if (stat.is_whiteout_device() && stat.dev == upper_.dev) {
    upper_.shared_whiteout->store(stat.ino);
  }
  shared_ready_.store(true, std::memory_order_release);
  return {};
}

Status Whiteouts::prepare(const UpperDirectory& dir) {
  if (abilities_.whiteouts != WhiteoutFamily::kXattr || dir.xwhiteouts->load()) {
    return {};
  }
  TRY(workdir_.writer().set_xattr({dir.fd, ""}, mark_name(*abilities_.marks, Mark::kOpaque), "x",
                                  0));
  dir.xwhiteouts->store(true);
  return {};
}

Status Whiteouts::make_aufs_file(sys::BorrowedFd dir, const char* name, AufsHint* hint) {
  const auto made = workdir_.writer().create_file(dir, name, 0444);
  if (!made && made.error() != EEXIST) {
    return made.error();
  }
  if (hint != nullptr) {
    hint->set(AufsHint::State::kPresent);
  }
  return {};
}

Status Whiteouts::add(const UpperDirectory& dir, const char* name) {
  if (abilities_.whiteouts == WhiteoutFamily::kAufs) {
    return make_aufs_file(dir.fd, aufs_whiteout_name(name).c_str(), dir.hint);
  }
  TRY(prepare(dir));
  if (abilities_.whiteouts == WhiteoutFamily::kChar) {
    // One call where the shared inode is there: a link is as atomic as a rename.
    const sys::ObjectRef shared{workdir_.staging(), kSharedName};
    if (shared_ready_.load(std::memory_order_acquire)) {
      const Status linked = workdir_.writer().make_link(shared, dir.fd, name);
      if (linked || (linked.error() != EMLINK && linked.error() != EPERM)) {
        return linked;
      }
    }
  }
  StagedEntry staged = workdir_.stage();
  TRY(stage_whiteout(staged));
  return staged.publish(dir.fd, name, 0);
}

Status Whiteouts::replace_file(const UpperDirectory& dir, const char* name) {
  if (abilities_.whiteouts == WhiteoutFamily::kAufs) {
    // The mark first: with both present the file is still seen, so no moment shows the lower one.
    TRY(make_aufs_file(dir.fd, aufs_whiteout_name(name).c_str(), dir.hint));
    return workdir_.writer().unlink_file(dir.fd, name);
  }
  TRY(prepare(dir));
  StagedEntry staged = workdir_.stage();
  TRY(stage_whiteout(staged));
  return staged.publish(dir.fd, name, 0);
}

Status Whiteouts::replace_directory(const UpperDirectory& dir, const char* name) {
  UpperWriter& writer = workdir_.writer();
  if (abilities_.whiteouts == WhiteoutFamily::kAufs) {
    TRY(make_aufs_file(dir.fd, aufs_whiteout_name(name).c_str(), dir.hint));
    StagedEntry trash = workdir_.stage();
    return writer.rename_entry(dir.fd, name, trash.directory(), trash.name(), 0);
  }
  TRY(prepare(dir));
  StagedEntry staged = workdir_.stage();
  TRY(stage_whiteout(staged));
  if (abilities_.exchange) {
    // The old directory is now the staged entry and is removed with its whiteouts.
    return staged.publish(dir.fd, name, sys::kRenameExchange);
  }
  StagedEntry trash = workdir_.stage();
  TRY(writer.rename_entry(dir.fd, name, trash.directory(), trash.name(), 0));
  return staged.publish(dir.fd, name, 0);
}

Status Whiteouts::remove(const UpperDirectory& dir, const char* name, Present present) {
  if (dir.hint->state() != AufsHint::State::kNone) {
    const std::string whiteout = aufs_whiteout_name(name);
    const Status removed = workdir_.writer().unlink_file(dir.fd, whiteout.c_str());
    if (!removed && removed.error() != ENOENT && removed.error() != ENAMETOOLONG) {
      return removed;
    }
  }
  if (present == Present::kObjectBeside) {
    return {};
  }
  const Status removed = workdir_.writer().unlink_file(dir.fd, name);
  return !removed && removed.error() == ENOENT ? Status{} : removed;
}

Status Whiteouts::publish_over(StagedEntry& staged, const UpperDirectory& dir, const char* name,
                               bool is_directory) {
  // A file replaces a whiteout by itself; a directory cannot replace a non-directory.
  const auto there = sys::stat_object({dir.fd, name});
  if (!there && there.error() != ENOENT) {
    return there.error();
  }
  if (is_directory && there) {
    if (abilities_.exchange) {
      TRY(staged.publish(dir.fd, name, sys::kRenameExchange));
    } else {
      TRY(workdir_.writer().unlink_file(dir.fd, name));
      TRY(staged.publish(dir.fd, name, 0));
    }
  } else {
    TRY(staged.publish(dir.fd, name, 0));
  }
  return remove(dir, name, Present::kObjectBeside);
}

Status Whiteouts::rename_leaving(const UpperDirectory& from_dir, const char* from,
                                 const UpperDirectory& to_dir, const char* to) {
  UpperWriter& writer = workdir_.writer();
  if (abilities_.whiteouts == WhiteoutFamily::kAufs) {
    TRY(make_aufs_file(from_dir.fd, aufs_whiteout_name(from).c_str(), from_dir.hint));
    const Status moved = writer.rename_entry(from_dir.fd, from, to_dir.fd, to, 0);
    if (!moved) {
      (void)remove(from_dir, from, Present::kObjectBeside);
    }
    return moved;
  }
  if (abilities_.whiteouts == WhiteoutFamily::kChar && abilities_.rename_whiteout) {
    return writer.rename_entry(from_dir.fd, from, to_dir.fd, to, sys::kRenameWhiteout);
  }
  TRY(prepare(from_dir));
  StagedEntry staged = workdir_.stage();
  TRY(stage_whiteout(staged));
  const auto target = sys::stat_object({to_dir.fd, to});
  if (!target && target.error() == ENOENT && abilities_.exchange) {
    // Put the whiteout at the target, then swap: one visible moment.
    TRY(staged.publish(to_dir.fd, to, 0));
    return writer.rename_entry(from_dir.fd, from, to_dir.fd, to, sys::kRenameExchange);
  }
  TRY(writer.rename_entry(from_dir.fd, from, to_dir.fd, to, 0));
  return staged.publish(from_dir.fd, from, 0);
}

Status Whiteouts::set_opaque(sys::BorrowedFd directory) {
  if (abilities_.whiteouts != WhiteoutFamily::kAufs && abilities_.marks) {
    return workdir_.writer().set_xattr({directory, ""}, mark_name(*abilities_.marks, Mark::kOpaque),
                                       "y", 0);
  }
  return make_aufs_file(directory, kAufsOpaqueName, nullptr);
}

}  // namespace plyfs::layer
