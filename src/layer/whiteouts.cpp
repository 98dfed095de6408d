#include "layer/whiteouts.h"

#include "base/log.h"
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

/// The mark is written before what it hides is taken away: with both present the object is still
/// seen, so no moment shows the lower one.
Status Whiteouts::unlink_behind_mark(const UpperDirectory& dir, const char* name, Status unlinked) {
  if (!unlinked) {
    clean_up(dir, name, Present::kObjectBeside);
  }
  return unlinked;
}

Status Whiteouts::replace_file(const UpperDirectory& dir, const char* name) {
  if (abilities_.whiteouts == WhiteoutFamily::kAufs) {
    TRY(make_aufs_file(dir.fd, aufs_whiteout_name(name).c_str(), dir.hint));
    return unlink_behind_mark(dir, name, workdir_.writer().unlink_file(dir.fd, name));
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
    return unlink_behind_mark(
        dir, name, writer.rename_entry(dir.fd, name, trash.directory(), trash.name(), 0));
  }
  TRY(prepare(dir));
  StagedEntry staged = workdir_.stage();
  TRY(stage_whiteout(staged));
  if (abilities_.exchange) {
    // The old directory is now the staged entry and is removed with its whiteouts.
    return staged.publish(dir.fd, name, sys::kRenameExchange);
  }
  StagedEntry trash = workdir_.stage();
  TRY(trash.take(dir.fd, name));
  return trash.or_put_back(staged.publish(dir.fd, name, 0), dir.fd, name);
}

void Whiteouts::clean_up(const UpperDirectory& dir, const char* name, Present present) {
  if (const Status removed = remove(dir, name, present); !removed) {
    log_clean_up("removing the whiteout of " + log::printable(name), removed.error());
  }
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
  if (is_directory && there && abilities_.exchange) {
    TRY(staged.publish(dir.fd, name, sys::kRenameExchange));
  } else if (is_directory && there) {
    StagedEntry trash = workdir_.stage();
    TRY(trash.take(dir.fd, name));
    TRY(trash.or_put_back(staged.publish(dir.fd, name, 0), dir.fd, name));
  } else {
    TRY(staged.publish(dir.fd, name, 0));
  }
  clean_up(dir, name, Present::kObjectBeside);
  return {};
}

Status Whiteouts::rename_leaving(const UpperDirectory& from_dir, const char* from,
                                 const UpperDirectory& to_dir, const char* to) {
  UpperWriter& writer = workdir_.writer();
  if (abilities_.whiteouts == WhiteoutFamily::kAufs) {
    TRY(make_aufs_file(from_dir.fd, aufs_whiteout_name(from).c_str(), from_dir.hint));
    return unlink_behind_mark(from_dir, from,
                              writer.rename_entry(from_dir.fd, from, to_dir.fd, to, 0));
  }
  if (abilities_.whiteouts == WhiteoutFamily::kChar && abilities_.rename_whiteout) {
    return writer.rename_entry(from_dir.fd, from, to_dir.fd, to, sys::kRenameWhiteout);
  }
  TRY(prepare(from_dir));
  return leave_staged(from_dir, from, to_dir, to);
}

/// Where no single call does it. A step that fails takes the ones before back.
Status Whiteouts::leave_staged(const UpperDirectory& from_dir, const char* from,
                               const UpperDirectory& to_dir, const char* to) {
  UpperWriter& writer = workdir_.writer();
  const auto target = sys::stat_object({to_dir.fd, to});
  if (!target && target.error() != ENOENT) {
    return target.error();
  }
  StagedEntry staged = workdir_.stage();
  TRY(stage_whiteout(staged));
  const auto swap = [&] {
    return writer.rename_entry(from_dir.fd, from, to_dir.fd, to, sys::kRenameExchange);
  };
  if (!abilities_.exchange) {
    return leave_without_exchange(staged, from_dir, from, to_dir, to, target ? &*target : nullptr);
  }
  if (!target) {
    // The whiteout at the target, then swapped: one visible moment.
    TRY(staged.publish(to_dir.fd, to, 0));
    const Status swapped = swap();
    if (!swapped) {
      if (const Status gone = writer.unlink_file(to_dir.fd, to); !gone) {
        log_clean_up("removing the whiteout of " + log::printable(to), gone.error());
      }
    }
    return swapped;
  }
  // What is replaced is not lost before the whiteout takes its place.
  TRY(swap());
  const unsigned flags = target->is_directory() ? sys::kRenameExchange : 0;
  const Status left = staged.publish(from_dir.fd, from, flags);
  if (!left) {
    if (const Status back = swap(); !back) {
      log_clean_up("exchanging " + log::printable(from) + " back", back.error());
    }
  }
  return left;
}

Status Whiteouts::leave_without_exchange(StagedEntry& staged, const UpperDirectory& from_dir,
                                         const char* from, const UpperDirectory& to_dir,
                                         const char* to, const FileStat* target) {
  UpperWriter& writer = workdir_.writer();
  StagedEntry replaced = workdir_.stage();
  if (target != nullptr) {
    TRY(target->is_directory()
            ? replaced.take(to_dir.fd, to)
            : writer.make_link({to_dir.fd, to}, replaced.directory(), replaced.name()));
  }
  const Status moved = writer.rename_entry(from_dir.fd, from, to_dir.fd, to, 0);
  if (!moved) {
    const bool gone = target != nullptr && target->is_directory();
    return gone ? replaced.or_put_back(moved, to_dir.fd, to) : moved;
  }
  const Status left = staged.publish(from_dir.fd, from, 0);
  if (!left && !writer.rename_entry(to_dir.fd, to, from_dir.fd, from, 0)) {
    log_clean_up("leaving a whiteout at " + log::printable(from), left.error());
    return {};  // it is at its new name
  }
  return target != nullptr ? replaced.or_put_back(left, to_dir.fd, to) : left;
}

Status Whiteouts::set_opaque(sys::BorrowedFd directory) {
  if (abilities_.whiteouts != WhiteoutFamily::kAufs && abilities_.marks) {
    return workdir_.writer().set_xattr({directory, ""}, mark_name(*abilities_.marks, Mark::kOpaque),
                                       "y", 0);
  }
  return make_aufs_file(directory, kAufsOpaqueName, nullptr);
}

}  // namespace plyfs::layer
