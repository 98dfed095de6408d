// rename, in every combination. As kernel overlayfs: one rename(2) in the upper layer is the
// visible moment; whiteouts, opaque and redirect marks are put in place so that each state between
// two steps shows the tree as before or as after.
#include "base/log.h"
#include "layer/format.h"
#include "ops/filesystem.h"
#include "sys/dir_ops.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::ops {

using node::DirLock;
using node::LockMode;
using node::Node;
using node::NodeDirectory;
using node::NodeRef;

bool FileSystem::is_ancestor(Node& ancestor, Node& node) {
  for (Node* at = &node; at != nullptr; at = table_.names_of(*at).parent) {
    if (at == &ancestor) {
      return true;
    }
  }
  return false;
}

/// Whether a directory can move: one with parts below needs a mark that will be believed.
Result<bool> FileSystem::may_redirect(Node& directory) {
  const bool always = f_.redirect && f_.engine->policy().marks == XattrNamespace::kTrusted;
  if (always) {
    return true;
  }
  const FileStat disk = TRY([&]() -> Result<FileStat> {
    Located located{*this};
    return sys::stat_object(TRY(located.find(directory)));
  }());
  SharedLock tree{locks_.tree};
  const DirLock lock{locks_, LockMode::kShared, &directory};
  if (directory.in_upper() && directory.directory().parts.size() == 1) {
    return true;
  }
  return f_.redirect && !others_may_mark(disk);
}

/// Copies up what will be moved. No lock is held.
Status FileSystem::prepare_rename(Node& from, Node* to, unsigned flags) {
  for (Node* moved : {&from, (flags & sys::kRenameExchange) != 0 ? to : nullptr}) {
    if (moved == nullptr) {
      continue;
    }
    if (moved->is_directory() && !TRY(may_redirect(*moved))) {
      return Errno{EXDEV};
    }
    TRY(ensure_upper(*moved, Want::kMetadata));
  }
  // A hard-linked lower file that is replaced: see unlink.
  if (to != nullptr && (flags & sys::kRenameExchange) == 0 && !to->is_directory() &&
      !to->in_upper() && f_.index && table_.extra_of(*to).lower_key) {
    TRY(ensure_upper(*to, Want::kMetadata));
  }
  return {};
}

Status FileSystem::rename(Node& from_parent, const char* from, Node& to_parent, const char* to,
                          unsigned flags) {
  TRY(writable());
  if ((flags & ~(sys::kRenameNoReplace | sys::kRenameExchange)) != 0) {
    return Errno{EINVAL};
  }
  TRY(check_new_name(to));
  NodeRef source = TRY(child(from_parent, from));
  NodeRef target;
  auto found = child(to_parent, to);
  if (found) {
    target = std::move(*found);
  } else if (found.error() != ENOENT) {
    return found.error();
  }
  if ((flags & sys::kRenameExchange) != 0 && !target) {
    return Errno{ENOENT};
  }
  if ((flags & sys::kRenameNoReplace) != 0 && target) {
    return Errno{EEXIST};
  }
  if (target.get() == source.get()) {
    return {};
  }
  TRY(prepare_rename(*source, target.get(), flags));
  RenameSide old_side{&from_parent, from, std::move(source), {}};
  RenameSide new_side{&to_parent, to, std::move(target), {}};
  const bool directories =
      old_side.node->is_directory() || (new_side.node && new_side.node->is_directory());
  if (directories) {
    ExclusiveLock tree{locks_.tree};
    return rename_locked(old_side, new_side, flags);
  }
  SharedLock tree{locks_.tree};
  return rename_locked(old_side, new_side, flags);
}

/// The caller holds the tree lock: exclusively when a directory moves or is replaced.
Status FileSystem::rename_locked(RenameSide& from, RenameSide& to, unsigned flags) {
  TRY(ensure_directory_upper(*from.parent));
  TRY(ensure_directory_upper(*to.parent));
  const DirLock lock{locks_, LockMode::kExclusive, from.parent, to.parent};
  TRY(fill_side(from));
  TRY(fill_side(to));
  TRY(check_rename(from, to, flags));
  const bool exchange = (flags & sys::kRenameExchange) != 0;
  Replaced replaced;
  if (to.node && !exchange) {
    TRY(prepare_replaced(to, replaced));
  }
  TRY(prepare_move(from, to));
  if (exchange) {
    TRY(prepare_move(to, from));
  }
  ClearedTarget cleared;
  if (to.node && !exchange && to.node->is_directory()) {
    TRY(clear_target(to, cleared));
  }
  const Status published = publish_rename(from, to, flags);
  if (!published) {
    put_back(to, cleared);
    return published;
  }
  // Visible: from here on nothing fails.
  if (exchange) {
    table_.swap_names(*from.parent, from.name, *to.parent, to.name);
  } else {
    if (to.node) {
      if (to.node->is_directory()) {
        handles_.forget(*to.node);
      }
      table_.remove_name(*to.parent, to.name, std::move(replaced.orphan));
    }
    table_.move_name(*from.parent, from.name, *to.parent, to.name);
  }
  names_changed(*from.parent);
  names_changed(*to.parent);
  clean_up_after_rename(from, to, flags);
  if (replaced.link) {
    after_unlink(*to.node);
  }
  return {};
}

/// What becomes of the object that is replaced.
Status FileSystem::prepare_replaced(RenameSide& to, Replaced& replaced) {
  if (to.node->is_directory()) {
    replaced.orphan.fd = TRY(handles_.open(*to.node, to.node->directory().parts.front()));
    return {};
  }
  replaced.link = !table_.extra_of(*to.node).index_name.empty();
  if (replaced.link && to.state != UpperState::kObject) {
    TRY(link_up(*to.node, to.place, to.name));
    to.state = UpperState::kObject;
  }
  if (replaced.link) {
    std::int64_t union_nlink = 0;
    TRY(before_link_change(*to.node, union_nlink));
  }
  const merge::DirectoryPart* part =
      node::part_in(*to.parent, to.state == UpperState::kObject ? layer::kUpper : to.node->layer());
  if (table_.name_count(*to.node) == 1 && part != nullptr) {
    const sys::FdPin dir = TRY(handles_.open(*to.parent, *part));
    replaced.orphan = orphan_of(*to.node, dir, to.name);
  }
  return {};
}

Status FileSystem::fill_side(RenameSide& side) {
  side.place = TRY(upper_place(*side.parent));
  side.state = TRY(upper_state(side.place, side.name));
  side.lower = TRY(lower_has(*side.parent, side.name));
  const NodeRef now = table_.find(*side.parent, side.name);
  return now.get() == side.node.get() ? Status{} : Status{Errno{EBUSY}};
}

Status FileSystem::check_rename(const RenameSide& from, const RenameSide& to, unsigned flags) {
  if (from.node->is_directory() && is_ancestor(*from.node, *to.parent)) {
    return Errno{EINVAL};
  }
  if (!to.node) {
    return {};
  }
  if ((flags & sys::kRenameExchange) != 0) {
    return to.node->is_directory() && is_ancestor(*to.node, *from.parent) ? Status{Errno{EINVAL}}
                                                                          : Status{};
  }
  if (to.node->is_directory() && is_ancestor(*to.node, *from.parent)) {
    return Errno{ENOTEMPTY};
  }
  if (from.node->is_directory() && !to.node->is_directory()) {
    return Errno{ENOTDIR};
  }
  if (!from.node->is_directory() && to.node->is_directory()) {
    return Errno{EISDIR};
  }
  if (to.node->is_directory()) {
    NodeDirectory access{handles_, *to.node};
    return TRY(merge::is_empty(f_.stack, access)) ? Status{} : Status{Errno{ENOTEMPTY}};
  }
  return {};
}

/// A directory that will be replaced must be really empty: its whiteouts go by exchanging it for
/// an empty opaque one, which looks the same.
Status FileSystem::clear_target(RenameSide& to, ClearedTarget& cleared) {
  if (to.state != UpperState::kObject) {
    return {};
  }
  const sys::FdPin old = TRY(handles_.open(*to.node, to.node->directory().parts.front()));
  const FileStat stat = TRY(sys::stat_object({old->borrow(), ""}));
  if (TRY(layer::holds_nothing(old->borrow()))) {
    return {};
  }
  copyup::Plan plan;
  plan.source = {old->borrow(), ""};
  plan.stat = stat;
  copyup::Staged staged = TRY(f_.engine->stage(plan));
  if (f_.whiteouts->family() == WhiteoutFamily::kAufs) {
    // An opaque mark would be a file inside, and the directory could not be replaced: the mark
    // beside it hides the lower layers as well.
    TRY(f_.whiteouts->add(to.place.directory(), to.name));
  } else {
    const sys::UniqueFd fresh =
        TRY(sys::open_directory_at(staged.entry.directory(), staged.entry.name()));
    TRY(f_.whiteouts->set_opaque(fresh.borrow()));
  }
  const Status swapped = swap_target(to, staged.entry, cleared);
  if (!swapped && f_.whiteouts->family() == WhiteoutFamily::kAufs) {
    f_.whiteouts->clean_up(to.place.directory(), to.name, layer::Whiteouts::Present::kObjectBeside);
  }
  return swapped;
}

Status FileSystem::swap_target(RenameSide& to, layer::StagedEntry& fresh, ClearedTarget& cleared) {
  const sys::BorrowedFd dir = to.place.fd->borrow();
  if (f_.whiteouts->abilities().exchange) {
    TRY(fresh.publish(dir, to.name, sys::kRenameExchange));
    cleared.old.emplace(std::move(fresh));
    cleared.exchanged = true;
    return {};
  }
  layer::StagedEntry old = f_.workdir->stage();
  TRY(old.take(dir, to.name));
  TRY(old.or_put_back(fresh.publish(dir, to.name, 0), dir, to.name));
  cleared.old.emplace(std::move(old));
  return {};
}

/// The rename failed: the directory gets its whiteouts again, or what is known of it changes.
void FileSystem::put_back(RenameSide& to, ClearedTarget& cleared) {
  if (!cleared.old) {
    return;
  }
  const sys::BorrowedFd dir = to.place.fd->borrow();
  Status back;
  if (cleared.exchanged) {
    back = cleared.old->publish(dir, to.name, sys::kRenameExchange);
  } else {
    layer::StagedEntry fresh = f_.workdir->stage();
    back = fresh.take(dir, to.name);
    if (back) {
      back = fresh.or_put_back(cleared.old->publish(dir, to.name, 0), dir, to.name);
    }
  }
  if (!back) {
    layer::log_clean_up("putting back the replaced directory " + log::printable(to.name),
                        back.error());
    merge::DirectoryPart fresh;
    fresh.layer = layer::kUpper;
    handles_.forget(*to.node);
    to.node->directory().parts.keep_only_upper(std::move(fresh));
    names_changed(*to.node);
    return;
  }
  if (f_.whiteouts->family() == WhiteoutFamily::kAufs) {
    f_.whiteouts->clean_up(to.place.directory(), to.name, layer::Whiteouts::Present::kObjectBeside);
  }
}

/// Marks that the moved object needs at its new place, put on before it moves: there they say what
/// is true already.
Status FileSystem::prepare_move(RenameSide& moved, const RenameSide& target) {
  if (moved.node->is_directory()) {
    TRY(prepare_directory_move(*moved.node, moved.place, moved.name,
                               target.lower || target.state == UpperState::kWhiteout));
    if (moved.node->directory().parts.size() > 1) {
      TRY(mark_impure(target.place));
    }
    return {};
  }
  if (moved.state == UpperState::kAbsent) {
    // A name of an indexed file that only the lower layer has.
    TRY(link_up(*moved.node, moved.place, moved.name));
    moved.state = UpperState::kObject;
    table_.set_name_upper(*moved.parent, moved.name);
  }
  if (!table_.extra_of(*moved.node).index_name.empty()) {
    // Under another name the lower inode is not found: the count becomes relative to the upper.
    std::int64_t union_nlink = 0;
    TRY(before_link_change(*moved.node, union_nlink));
  }
  TRY(write_redirect(*moved.node, {moved.place.fd->borrow(), moved.name}));
  const FileStat stat = TRY(sys::stat_object({moved.place.fd->borrow(), moved.name}));
  if (moved.node->metacopy.load() ||
      f_.stack.shown_ino(layer::kUpper, stat.dev, stat.ino) != moved.node->ino()) {
    TRY(mark_impure(target.place));
  }
  return {};
}

Status FileSystem::prepare_directory_move(Node& directory, const UpperPlace& place,
                                          const char* name, bool target_has_lower) {
  merge::DirectoryParts& parts = directory.directory().parts;
  if (parts.size() == 1) {
    if (!target_has_lower) {
      return {};
    }
    const sys::FdPin own = TRY(handles_.open(directory, parts.front()));
    return f_.whiteouts->set_opaque(own->borrow());
  }
  const auto& marks = f_.engine->policy().marks;
  if (!f_.redirect || !marks) {
    return Errno{EXDEV};
  }
  // From now on the lower parts are found by their path, not under the new parent.
  for (std::size_t i = 1; i < parts.size(); ++i) {
    if (!parts[i].path) {
      parts[i].path = std::make_unique<const std::string>(handles_.path(directory, parts[i]));
    }
  }
  // The mark says where the lower layers, merged, have it: they may have redirects of their own.
  auto lower = std::make_unique<const std::string>(lower_path(directory));
  TRY(f_.writer->set_xattr({place.fd->borrow(), name},
                           layer::mark_name(*marks, layer::Mark::kRedirect), '/' + *lower, 0));
  directory.directory().lower_path = std::move(lower);
  return {};
}

Status FileSystem::publish_rename(RenameSide& from, RenameSide& to, unsigned flags) {
  layer::UpperWriter& writer = *f_.writer;
  const sys::BorrowedFd from_dir = from.place.fd->borrow();
  const sys::BorrowedFd to_dir = to.place.fd->borrow();
  if ((flags & sys::kRenameExchange) != 0) {
    return writer.rename_entry(from_dir, from.name, to_dir, to.name, sys::kRenameExchange);
  }
  const bool directory = from.node->is_directory();
  const bool target_whiteout =
      to.state == UpperState::kWhiteout && sys::stat_object({to_dir, to.name}).has_value();
  if (target_whiteout && (from.lower || directory) && f_.whiteouts->abilities().exchange) {
    // The whiteout of the target serves the source, or is removed from there.
    TRY(writer.rename_entry(from_dir, from.name, to_dir, to.name, sys::kRenameExchange));
    from.spare_whiteout = !from.lower;
    return {};
  }
  layer::StagedEntry whiteout = f_.workdir->stage();
  if (target_whiteout && directory) {
    TRY(whiteout.take(to_dir, to.name));
  }
  const Status moved = from.lower ? f_.whiteouts->rename_leaving(from.place.directory(), from.name,
                                                                 to.place.directory(), to.name)
                                  : writer.rename_entry(from_dir, from.name, to_dir, to.name, 0);
  return target_whiteout && directory ? whiteout.or_put_back(moved, to_dir, to.name) : moved;
}

/// Whiteouts that hide nothing any more.
void FileSystem::clean_up_after_rename(RenameSide& from, RenameSide& to, unsigned flags) {
  if ((flags & sys::kRenameExchange) != 0) {
    return;
  }
  if (from.spare_whiteout) {
    f_.whiteouts->clean_up(from.place.directory(), from.name,
                           layer::Whiteouts::Present::kWhiteoutOnly);
  }
  f_.whiteouts->clean_up(to.place.directory(), to.name, layer::Whiteouts::Present::kObjectBeside);
}

}  // namespace plyfs::ops
