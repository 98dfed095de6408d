// unlink, rmdir and link.
#include "base/log.h"
#include "layer/format.h"
#include "layer/origin.h"
#include "ops/filesystem.h"
#include "sys/dir_ops.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::ops {

using node::DirLock;
using node::LockMode;
using node::Node;
using node::NodeDirectory;
using node::NodeNames;
using node::NodeRef;

/// What will reach the object once its last name is gone: it may be open. Null only where even a
/// handle cannot be had (then the object is lost to those who hold it open: ESTALE).
node::Orphan FileSystem::orphan_handle(Node& node, sys::ObjectRef object) {
  if (!node.is_directory() && node.has_io.load() && node.in_upper()) {
    if (sys::FdPin open = io_.find({&node, 2})) {
      return {std::move(open), {}};  // better than a handle: its mode cannot lock us out
    }
  }
  auto handle = sys::open_handle(object);
  return handle ? node::Orphan{std::make_shared<const sys::UniqueFd>(std::move(*handle)), {}}
                : node::Orphan{};
}

/// The same for a name in a directory. What a lower layer has stays where it is.
node::Orphan FileSystem::orphan_of(Node& node, const sys::FdPin& directory, const char* name) {
  return node.in_upper() ? orphan_handle(node, {directory->borrow(), name})
                         : node::Orphan{directory, name};
}

Status FileSystem::unlink(Node& parent, const char* name) {
  TRY(writable());
  const NodeRef target = TRY(child(parent, name));
  if (target->is_directory()) {
    return Errno{EISDIR};
  }
  if (!target->in_upper() && f_.index && table_.extra_of(*target).lower_key) {
    // The other names must learn that one is gone: their count lives with the copy (kernel:
    // ovl_nlink_start).
    TRY(ensure_upper(*target, Want::kMetadata));
  }
  SharedLock tree{locks_.tree};
  TRY(ensure_directory_upper(parent));
  const DirLock lock{locks_, LockMode::kExclusive, &parent};
  return remove_file(parent, name, *target);
}

/// The caller holds tree and the parent's DirLock exclusively; the parent is in the upper.
Status FileSystem::remove_file(Node& parent, const char* name, Node& target) {
  const UpperPlace place = TRY(upper_place(parent));
  const auto known = table_.facts_of(parent, name);
  if (!known) {
    return Errno{ENOENT};  // removed or renamed since it was looked up
  }
  const bool indexed = !table_.extra_of(target).index_name.empty();
  // Only we change names, so the upper has what we found or put there, and nothing else. But a name
  // that leads to the index may be in the upper or not.
  UpperState state = known->layer == layer::kUpper ? UpperState::kObject : UpperState::kAbsent;
  if (indexed) {
    state = TRY(upper_state(place, name));
  }
  const bool lower = state != UpperState::kObject || TRY(lower_has(parent, name));
  if (indexed && state == UpperState::kAbsent) {
    TRY(link_up(target, place, name));
    state = UpperState::kObject;
  }
  std::int64_t union_nlink = 0;
  if (indexed) {
    TRY(before_link_change(target, union_nlink));
  }
  node::Orphan orphan;
  if (known->only) {
    sys::FdPin dir = place.fd;
    if (state == UpperState::kAbsent) {
      const merge::DirectoryPart* part = node::part_in(parent, known->layer);
      dir = TRY(handles_.open(parent, *part));
    }
    orphan = orphan_of(target, dir, name);
  }
  if (lower) {
    TRY(state == UpperState::kObject ? f_.whiteouts->replace_file(place.directory(), name)
                                     : f_.whiteouts->add(place.directory(), name));
  } else {
    TRY(f_.writer->unlink_file(place.fd->borrow(), name));
  }
  table_.remove_name(parent, name, std::move(orphan));
  names_changed(parent);
  if (indexed) {
    after_unlink(target);
  }
  return {};
}

/// Writes the count that users see, relative to the upper inode's, before both change together.
Status FileSystem::before_link_change(Node& node, std::int64_t& union_nlink) {
  const node::FileExtra extra = table_.extra_of(node);
  union_nlink = extra.union_nlink;
  const sys::ObjectRef indexed{f_.workdir->index(), extra.index_name.c_str()};
  const FileStat upper = TRY(sys::stat_object(indexed));
  return write_nlink(indexed, union_nlink, static_cast<std::int64_t>(upper.nlink));
}

/// A name is gone, which users have seen: nothing here can fail for them.
void FileSystem::after_unlink(Node& node) {
  std::string index_name;
  node::Orphan handle;
  const node::FileExtra before = table_.extra_of(node);
  if (before.union_nlink <= 1) {
    // The last name that users saw: the index entry goes, too.
    handle = orphan_handle(node, {f_.workdir->index(), before.index_name.c_str()});
    index_name = before.index_name;
  }
  table_.update_extra(node, [&](node::FileExtra& extra) {
    --extra.union_nlink;
    if (!index_name.empty()) {
      extra.index_name.clear();
      extra.orphan = handle;
      extra.lower_key.reset();
      extra.upper_key.reset();
    }
  });
  if (index_name.empty()) {
    return;
  }
  if (const Status removed = f_.writer->unlink_file(f_.workdir->index(), index_name.c_str());
      !removed) {
    layer::log_clean_up("removing the index entry " + index_name, removed.error());
  }
}

/// Gives an indexed file its name in the upper layer, where only the lower had it. Users see no
/// change. The count is written after the name, so that a crash in between leaves it too high: one
/// that is too low would drop the file with a name left.
Status FileSystem::link_up(Node& node, const UpperPlace& place, const char* name) {
  const node::FileExtra extra = table_.extra_of(node);
  const sys::ObjectRef indexed{f_.workdir->index(), extra.index_name.c_str()};
  TRY(mark_impure(place));
  const FileStat before = TRY(sys::stat_object(indexed));
  layer::StagedEntry staged = f_.workdir->stage();
  TRY(f_.writer->make_link(indexed, staged.directory(), staged.name()));
  TRY(staged.publish(place.fd->borrow(), name, 0));
  const Status counted =
      write_nlink(indexed, extra.union_nlink, static_cast<std::int64_t>(before.nlink) + 1);
  if (!counted) {
    if (const Status undone = f_.writer->unlink_file(place.fd->borrow(), name); !undone) {
      layer::log_clean_up("taking back the name " + log::printable(name), undone.error());
    }
  }
  return counted;
}

Status FileSystem::rmdir(Node& parent, const char* name) {
  TRY(writable());
  const NodeRef target = TRY(child(parent, name));
  if (!target->is_directory()) {
    return Errno{ENOTDIR};
  }
  SharedLock tree{locks_.tree};
  std::uint32_t empty_version = 0;
  {
    const DirLock lock{locks_, LockMode::kShared, target.get()};
    empty_version = target->directory().version.load();
    NodeDirectory access{handles_, *target};
    if (!TRY(merge::is_empty(f_.stack, access))) {
      return Errno{ENOTEMPTY};
    }
  }
  TRY(ensure_directory_upper(parent));
  const DirLock lock{locks_, LockMode::kExclusive, &parent, target.get()};
  NodeDirectory access{handles_, *target};
  if (target->directory().removed.load()) {
    return Errno{ENOENT};
  }
  if (target->directory().version.load() != empty_version &&
      !TRY(merge::is_empty(f_.stack, access))) {
    return Errno{ENOTEMPTY};
  }
  const UpperPlace place = TRY(upper_place(parent));
  const bool lower = TRY(lower_has(parent, name));
  sys::FdPin orphan = TRY(handles_.open(*target, target->directory().parts.front()));
  if (lower) {
    TRY(target->in_upper() ? f_.whiteouts->replace_directory(place.directory(), name)
                           : f_.whiteouts->add(place.directory(), name));
  } else {
    const Status removed = f_.writer->remove_directory(place.fd->borrow(), name);
    if (!removed && removed.error() != ENOTEMPTY) {
      return removed;
    }
    if (!removed) {
      // Whiteouts inside, left by another program: move it away in one step, then clear it.
      layer::StagedEntry trash = f_.workdir->stage();
      TRY(f_.writer->rename_entry(place.fd->borrow(), name, trash.directory(), trash.name(), 0));
    }
  }
  handles_.forget(*target);
  table_.remove_name(parent, name, {std::move(orphan), {}});
  names_changed(parent);
  names_changed(*target);
  return {};
}

Result<Entry> FileSystem::link(Node& node, Node& new_parent, const char* name) {
  TRY(check_new_name(name));
  TRY(ensure_upper(node, Want::kMetadata));
  {
    SharedLock tree{locks_.tree};
    TRY(ensure_directory_upper(new_parent));
    for (;;) {
      const NodeNames names = table_.names_of(node);
      const DirLock lock{locks_, LockMode::kExclusive, &new_parent, names.parent};
      const NodeNames now = table_.names_of(node);
      if (now.dentry != names.dentry || now.parent != names.parent) {
        continue;
      }
      sys::FdPin dir;
      sys::ObjectRef source{};
      if (names.orphan) {
        source = names.orphan.object();
      } else if (!names.index_name.empty()) {
        source = {f_.workdir->index(), names.index_name.c_str()};
      } else if (names.parent != nullptr) {
        dir = TRY(handles_.open(*names.parent, names.parent->directory().parts.front()));
        source = {dir->borrow(), names.dentry->name};
      } else {
        return Errno{ENOENT};
      }
      const UpperPlace place = TRY(upper_place(new_parent));
      const UpperState state = TRY(upper_state(place, name));
      if (state == UpperState::kObject) {
        return Errno{EEXIST};
      }
      if (state == UpperState::kAbsent && TRY(lower_has(new_parent, name))) {
        return Errno{EEXIST};
      }
      const bool indexed = !names.index_name.empty();
      std::int64_t union_nlink = 0;
      if (indexed) {
        TRY(before_link_change(node, union_nlink));
      }
      TRY(write_redirect(node, source));
      const FileStat before = TRY(sys::stat_object(source));
      if (indexed || f_.stack.shown_ino(layer::kUpper, before.dev, before.ino) != node.ino()) {
        TRY(mark_impure(place));
      }
      if (state == UpperState::kWhiteout) {
        layer::StagedEntry staged = f_.workdir->stage();
        TRY(f_.writer->make_link(source, staged.directory(), staged.name()));
        TRY(f_.whiteouts->publish_over(staged, place.directory(), name, false));
      } else {
        TRY(f_.writer->make_link(source, place.fd->borrow(), name));
      }
      table_.update_extra(node, [&](node::FileExtra& extra) {
        extra.upper_key = node::LinkKey{before.dev, before.ino};
        if (indexed) {
          ++extra.union_nlink;
        }
      });
      table_.add_name(node, new_parent, name, layer::kUpper);
      names_changed(new_parent);
      break;
    }
  }
  const FileStat stat = TRY(stat_node(node));
  return Entry{table_.ref(node), stat};
}

}  // namespace plyfs::ops
