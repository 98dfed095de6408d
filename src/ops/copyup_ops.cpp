// Bringing objects into the upper layer: when, under which locks, and what becomes visible.
#include "base/log.h"
#include "base/remedy.h"
#include "layer/format.h"
#include "layer/origin.h"
#include "ops/filesystem.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs::ops {

using node::CopyUpLock;
using node::DirLock;
using node::LockMode;
using node::Node;
using node::NodeNames;

namespace {

TimeChange exactly(timespec time) { return {TimeChange::Kind::kValue, time}; }

std::string join(std::string path, std::string_view name) {
  if (!path.empty()) {
    path += '/';
  }
  return path.append(name);
}

}  // namespace

Status FileSystem::ensure_upper(Node& node, Want want, std::int64_t size_bytes) {
  TRY(writable());
  if (node.is_directory()) {
    SharedLock tree{locks_.tree};
    return ensure_directory_upper(node);
  }
  if (node.in_upper() && (want == Want::kMetadata || !node.metacopy.load())) {
    return {};
  }
  return ensure_file_upper(node, want, size_bytes);
}

Status FileSystem::ensure_file_upper(Node& node, Want want, std::int64_t size_bytes) {
  const CopyUpLock lock{locks_, node};
  if (!node.in_upper()) {
    return copy_up_file(node, want, size_bytes);
  }
  if (want != Want::kMetadata && node.metacopy.load()) {
    return complete_data(node);
  }
  return {};
}

/// The caller holds the node's CopyUpLock and nothing else.
Status FileSystem::copy_up_file(Node& node, Want want, std::int64_t size_bytes) {
  node::Orphan source;
  copyup::Plan plan;
  std::optional<merge::DataLocation> data;
  {
    Located located{*this};
    source = TRY(located.find_below(node));
    plan.source = source.object();
    plan.data_source = plan.source;
    plan.stat = TRY(sys::stat_object(plan.source));
    const NodeNames names = table_.names_of(node);
    const auto origin_layer =
        names.dentry != nullptr && !names.orphan ? names.dentry->layer : node.layer();
    plan.no_privileges = drops_privileges(origin_layer);
    if (f_.engine->policy().marks) {
      plan.origin = TRY(layer::encode_origin(f_.stack[origin_layer], plan.source));
    }
    const bool leave = want == Want::kMetadata && f_.metacopy && plan.stat.is_regular() &&
                       plan.stat.size_bytes > 0 && plan.stat.nlink == 1 &&
                       names.dentry != nullptr && !names.orphan && !others_may_mark(plan.stat);
    if (leave || node.metacopy.load()) {
      data = table_.extra_of(node).data;  // a metadata-only copy in a lower layer
    }
    if (leave) {
      plan.data = copyup::Plan::Data::kLeaveBelow;
      const merge::DirectoryPart* part = node::part_in(*names.parent, origin_layer);
      if (!data) {
        data = merge::DataLocation{origin_layer,
                                   join(handles_.path(*names.parent, *part), names.dentry->view()),
                                   plan.stat.blocks_512,
                                   {}};
      }
      // Found by name: no redirect is needed where it is.
      data->lower_path = lower_path_of(*names.parent, names.dentry->view());
    }
  }
  if (plan.stat.nlink > 1 && !(f_.index && plan.origin)) {
    // The link is broken up (kernel: index=off): this copy is another file from now on.
    plan.origin.reset();
    plan.shown_ino = 0;
  } else {
    plan.shown_ino = node.ino();
  }
  const layer::LayerIndex from = data ? data->layer : node.layer();
  plan.data_bytes =
      want == Want::kTruncated ? std::min(size_bytes, plan.stat.size_bytes) : plan.stat.size_bytes;
  sys::FdPin below;
  if (plan.data == copyup::Plan::Data::kCopy && node.metacopy.load() && plan.data_bytes > 0) {
    below = TRY(open_data(node));
  } else if (plan.data == copyup::Plan::Data::kCopy && node.has_io.load()) {
    below = io_.find({&node, 0});  // it has been read
  }
  if (below) {
    plan.data_source = {below->borrow(), ""};
    plan.data_is_open = true;
  }
  if (plan.data == copyup::Plan::Data::kCopy) {
    data.reset();
  }
  auto staged = f_.engine->stage(plan);
  if (!staged) {
    if (const int error = staged.error().value(); is_of_filesystem(error)) {
      log::write(log::Level::kWarning, "copying up " + describe(node) + " from layer " +
                                           log::printable(f_.stack[from].path) + " to " +
                                           log::printable(f_.stack[layer::kUpper].path) + ": " +
                                           staged.error().message() +
                                           remedy_for(error, "the upper layer"));
    }
    return staged.error();
  }
  return publish_copy(node, plan, *staged, std::move(data));
}

Status FileSystem::publish_copy(Node& node, const copyup::Plan& plan, copyup::Staged& staged,
                                std::optional<merge::DataLocation> data) {
  SharedLock tree{locks_.tree};
  for (;;) {
    const NodeNames names = table_.names_of(node);
    if (names.orphan || names.parent == nullptr) {
      // Deleted meanwhile, but open: the copy stays without a name.
      sys::UniqueFd handle = staged.file.valid() ? std::move(staged.file)
                                                 : TRY(sys::open_handle(staged.entry.object()));
      auto pin = std::make_shared<const sys::UniqueFd>(std::move(handle));
      node.metacopy.store(data.has_value());
      table_.update_extra(node, [&](node::FileExtra& extra) {
        extra.orphan = {pin, {}};
        extra.data = data;
        extra.lower_key.reset();
      });
      node.set_in_upper();
      break;
    }
    TRY(ensure_directory_upper(*names.parent));
    const DirLock lock{locks_, LockMode::kExclusive, names.parent};
    const NodeNames now = table_.names_of(node);
    if (now.dentry != names.dentry || now.parent != names.parent) {
      continue;
    }
    TRY(publish_named(node, plan, staged, names, data));
    break;
  }
  copied_.count(data ? CopyUpCounters::What::kMetadata : CopyUpCounters::What::kFile,
                data || !plan.stat.is_regular() ? 0 : plan.data_bytes);
  if (staged.file.valid() && !data) {
    node.has_io.store(true);
    (void)io_.insert({&node, 2}, std::move(staged.file), sys::FdCache::IfPresent::kReplace);
  }
  (void)io_.erase({&node, 0});
  return {};
}

/// Puts a staged copy at its name. The caller holds tree and the parent's DirLock exclusively.
Status FileSystem::publish_named(Node& node, const copyup::Plan& plan, copyup::Staged& staged,
                                 const NodeNames& names,
                                 const std::optional<merge::DataLocation>& data) {
  const UpperPlace place = TRY(upper_place(*names.parent));
  if (plan.stat.nlink > 1 && f_.index && plan.origin) {
    return publish_indexed(node, plan, staged, place, names);
  }
  const FileStat parent = TRY(sys::stat_object({place.fd->borrow(), ""}));
  std::optional<node::LinkKey> key;
  if (plan.stat.nlink > 1) {
    const FileStat upper = TRY(sys::stat_object(staged.entry.object()));
    key = node::LinkKey{upper.dev, upper.ino};
  }
  TRY(mark_impure(place));
  if (data) {
    table_.update_extra(node, [&](node::FileExtra& extra) { extra.data = data; });
  }
  TRY(staged.entry.publish(place.fd->borrow(), names.dentry->name, 0));
  // Visible. Copying up is no change that users made: the directory keeps its times (as in the
  // kernel).
  (void)f_.writer->change_times({place.fd->borrow(), ""}, exactly(parent.atime),
                                exactly(parent.mtime));
  if (key) {
    table_.update_extra(node, [&](node::FileExtra& extra) {
      extra.upper_key = key;
      extra.union_nlink = static_cast<std::int64_t>(plan.stat.nlink);
    });
  }
  changed(*names.parent);  // listings know the layer of each name
  table_.set_names_upper(node);
  // Still under the DirLock: whoever waits for it finds the new state whole.
  node.metacopy.store(data.has_value());
  node.set_in_upper();
  return {};
}

/// All names of a hard-linked lower file lead to its entry in the index, by which the copy is there
/// for each of them, whether the name itself is in the upper or not. So the entry is what makes the
/// copy visible, and the name follows.
Status FileSystem::publish_indexed(Node& node, const copyup::Plan& plan, copyup::Staged& staged,
                                   const UpperPlace& place, const NodeNames& names) {
  const FileStat parent = TRY(sys::stat_object({place.fd->borrow(), ""}));
  const FileStat upper = TRY(sys::stat_object(staged.entry.object()));
  std::string index_name;
  TRY(publish_index(plan, staged, index_name));
  table_.update_extra(node, [&](node::FileExtra& extra) {
    extra.data.reset();
    extra.upper_key = node::LinkKey{upper.dev, upper.ino};
    extra.index_name = index_name;
    extra.union_nlink = static_cast<std::int64_t>(plan.stat.nlink);
  });
  node.metacopy.store(false);
  node.set_in_upper();
  Status named = mark_impure(place);
  if (named) {
    named = staged.entry.publish(place.fd->borrow(), names.dentry->name, 0);
  }
  if (!named) {
    layer::log_clean_up("naming the copy of " + log::printable(names.dentry->view()),
                        named.error());
    return {};
  }
  (void)f_.writer->change_times({place.fd->borrow(), ""}, exactly(parent.atime),
                                exactly(parent.mtime));
  changed(*names.parent);
  table_.set_name_upper(*names.parent, names.dentry->view());
  return {};
}

Status FileSystem::publish_index(const copyup::Plan& plan, copyup::Staged& staged,
                                 std::string& index_name) {
  // As many names as below: true before and after the name exists, so also after a crash between.
  TRY(f_.writer->set_xattr(staged.entry.object(),
                           layer::mark_name(*f_.engine->policy().marks, layer::Mark::kNlink), "L+0",
                           0));
  std::string name = layer::index_name(*plan.origin);
  const Status linked =
      f_.writer->make_link(staged.entry.object(), f_.workdir->index(), name.c_str());
  if (!linked && linked.error() == EEXIST) {
    // A crash came between index and name: what was indexed then was never seen.
    TRY(f_.writer->unlink_file(f_.workdir->index(), name.c_str()));
    TRY(f_.writer->make_link(staged.entry.object(), f_.workdir->index(), name.c_str()));
  } else if (!linked) {
    return linked;
  }
  index_name = std::move(name);
  return {};
}

Status FileSystem::write_nlink(sys::ObjectRef object, std::int64_t union_nlink,
                               std::int64_t upper_nlink) {
  const std::int64_t difference = union_nlink - upper_nlink;
  std::string value = difference < 0 ? "U" : "U+";
  value += std::to_string(difference);
  return f_.writer->set_xattr(
      object, layer::mark_name(*f_.engine->policy().marks, layer::Mark::kNlink), value, 0);
}

/// A metadata-only copy that gets another name says where its data is.
Status FileSystem::write_redirect(Node& node, sys::ObjectRef object) {
  const auto& marks = f_.engine->policy().marks;
  if (!node.metacopy.load() || !marks) {
    return {};
  }
  const auto data = table_.extra_of(node).data;
  return data ? f_.writer->set_xattr(object, layer::mark_name(*marks, layer::Mark::kRedirect),
                                     '/' + data->lower_path, 0)
              : Status{};
}

Status FileSystem::mark_impure(const UpperPlace& place) {
  const auto& marks = f_.engine->policy().marks;
  if (!marks || place.part->impure.load()) {
    return {};
  }
  TRY(f_.writer->set_xattr({place.fd->borrow(), ""}, layer::mark_name(*marks, layer::Mark::kImpure),
                           "y", 0));
  place.part->impure.store(true);
  return {};
}

/// The caller holds the node's CopyUpLock.
Status FileSystem::complete_data(Node& node) {
  const sys::FdPin below = TRY(open_data(node));
  const sys::UniqueFd upper = TRY(open_upper(node, sys::Access::kReadWrite));
  const FileStat stat = TRY(sys::stat_object({upper.borrow(), ""}));
  TRY(f_.engine->complete({upper.borrow(), ""}, upper.borrow(), below->borrow(), stat.size_bytes,
                          stat));
  copied_.count(CopyUpCounters::What::kCompleted, stat.size_bytes);
  table_.update_extra(node, [](node::FileExtra& extra) { extra.data.reset(); });
  node.metacopy.store(false);
  (void)io_.erase({&node, 0});
  return {};
}

/// The caller holds the tree lock.
Status FileSystem::ensure_directory_upper(Node& directory) {
  // Parents first. The tree lock keeps the chain as it is.
  while (!directory.in_upper()) {
    Node* lowest = &directory;
    Node* parent = nullptr;
    for (;;) {
      const NodeNames names = table_.names_of(*lowest);
      if (names.parent == nullptr) {
        return Errno{ENOENT};
      }
      parent = names.parent;
      if (parent->in_upper()) {
        break;
      }
      lowest = parent;
    }
    TRY(copy_up_directory(*lowest, *parent));
  }
  return {};
}

Status FileSystem::copy_up_directory(Node& directory, Node& parent) {
  const DirLock lock{locks_, LockMode::kExclusive, &directory, &parent};
  if (directory.in_upper()) {
    return {};
  }
  const NodeNames names = table_.names_of(directory);
  if (names.parent != &parent || directory.directory().removed.load()) {
    return Errno{ENOENT};
  }
  merge::DirectoryParts& parts = directory.directory().parts;
  const sys::FdPin source = TRY(handles_.open(directory, parts.front()));
  copyup::Plan plan;
  plan.source = {source->borrow(), ""};
  plan.stat = TRY(sys::stat_object(plan.source));
  if (f_.engine->policy().marks) {
    plan.origin = TRY(layer::encode_origin(f_.stack[parts.front().layer], plan.source));
  }
  copyup::Staged staged = TRY(f_.engine->stage(plan));
  const UpperPlace place = TRY(upper_place(parent));
  const FileStat above = TRY(sys::stat_object({place.fd->borrow(), ""}));
  TRY(mark_impure(place));
  TRY(staged.entry.publish(place.fd->borrow(), names.dentry->name, 0));
  (void)f_.writer->change_times({place.fd->borrow(), ""}, exactly(above.atime),
                                exactly(above.mtime));
  merge::DirectoryPart part;
  part.layer = layer::kUpper;
  part.aufs.set(layer::AufsHint::State::kNone);
  parts.add_upper(std::move(part));
  table_.set_name_upper(parent, names.dentry->view());
  directory.set_in_upper();
  copied_.count(CopyUpCounters::What::kDirectory, 0);
  changed(directory);
  return {};
}

}  // namespace plyfs::ops
