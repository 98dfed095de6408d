// lookup, and how the verbs find and reach objects.

#include "base/log.h"
#include "layer/format.h"
#include "layer/link_count.h"
#include "layer/link_index.h"
#include "layer/origin.h"
#include "ops/filesystem.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs::ops {

using node::DirLock;
using node::LockMode;
using node::Node;
using node::NodeDirectory;
using node::NodeNames;
using node::NodeRef;
using node::NodeSeed;
using node::NodeTable;

namespace {

constexpr std::size_t kNameMax = 255;
constexpr std::size_t kListingBytes = 8 * 1024 * 1024;
constexpr std::size_t kLowerNamesBytes = 8 * 1024 * 1024;
// Opening and reading one directory costs as much as some questions; and so does reading on.
constexpr std::uint32_t kProbesPerPart = 8;
constexpr std::uint32_t kNamesPerProbe = 16;

}  // namespace

FileSystem::FileSystem(Foundation foundation)
    : f_(std::move(foundation)),
      lookup_(f_.stack),
      table_([this](Node& node) { release(node); }),
      handles_(f_.stack, table_, f_.max_fds / 2),
      listings_(kListingBytes),
      lower_names_(kLowerNamesBytes),
      io_(f_.max_fds / 2) {}

FileSystem::~FileSystem() { table_.clear(); }  // while the caches it releases to are alive

Result<std::unique_ptr<FileSystem>> FileSystem::make(Foundation foundation) {
  std::unique_ptr<FileSystem> fs{new FileSystem{std::move(foundation)}};
  NodeSeed root;
  root.entry_type = entry_type_of(kTypeDirectory);
  root.parts = TRY(fs->lookup_.root_parts());
  root.layer = root.parts.front().layer;
  // As for every merged directory, the number is that of the topmost lower.
  const merge::DirectoryPart& shown = root.parts[root.parts.size() > 1 && root.layer == 0 ? 1 : 0];
  const FileStat stat = TRY(sys::stat_object({fs->f_.stack[shown.layer].root.borrow(), ""}));
  root.ino = fs->f_.stack.shown_ino(shown.layer, stat.dev, stat.ino);
  fs->table_.make_root(std::move(root));
  return fs;
}

void FileSystem::release(Node& node) {
  if (node.is_directory()) {
    listings_.forget(node);
    lower_names_.forget(node);
    handles_.forget(node);
  } else if (node.has_io.load()) {
    drop_io(node);
  }
}

std::string FileSystem::describe(Node& node) {
  const NodeTable::Path path = table_.path_of(node);
  return path.whole ? log::printable(path.text) : "(no name)" + log::printable(path.text);
}

FileSystem::Located::Located(FileSystem& fs) : fs_(fs), tree_(fs.locks_.tree) {}

Result<sys::ObjectRef> FileSystem::Located::find_directory(Node& node) {
  dir_.emplace(fs_.locks_, LockMode::kShared, &node);
  if (node.directory().removed.load()) {
    pin_ = fs_.table_.names_of(node).orphan.fd;
    if (!pin_) {
      return Errno{ENOENT};
    }
    return sys::ObjectRef{pin_->borrow(), ""};
  }
  auto way = TRY(fs_.handles_.way_to(node, node.directory().parts.front()));
  pin_ = std::move(way.directory);
  return sys::ObjectRef{pin_->borrow(), way.name};
}

Result<sys::ObjectRef> FileSystem::Located::find(Node& node) {
  if (node.is_directory()) {
    return find_directory(node);
  }
  for (;;) {
    NodeNames names = fs_.table_.names_of(node);
    if (names.orphan) {
      orphan_ = std::move(names.orphan);
      return orphan_.object();
    }
    if (!names.index_name.empty()) {
      index_name_ = std::move(names.index_name);
      return sys::ObjectRef{fs_.f_.workdir->index(), index_name_.c_str()};
    }
    if (names.parent == nullptr) {
      return Errno{ESTALE};
    }
    // The name may change until its directory is locked: look again then.
    dir_.emplace(fs_.locks_, LockMode::kShared, names.parent);
    const NodeNames now = fs_.table_.names_of(node);
    if (now.dentry != names.dentry || now.parent != names.parent) {
      dir_.reset();
      continue;
    }
    const layer::LayerIndex layer = node.in_upper() ? layer::kUpper : names.dentry->layer;
    const merge::DirectoryPart* part = node::part_in(*names.parent, layer);
    if (part == nullptr) {
      return Errno{ESTALE};
    }
    pin_ = TRY(fs_.handles_.open(*names.parent, *part));
    const sys::ObjectRef object{pin_->borrow(), names.dentry->name};
    return layer == layer::kUpper && names.parent->directory().closed.load()
               ? find_in_closed(object)
               : object;
  }
}

/// What lies in a directory of the upper that its owner may not search: a file that is still open.
Result<sys::ObjectRef> FileSystem::Located::find_in_closed(sys::ObjectRef object) {
  if (fs_.read_only() || fs_.f_.engine->policy().privileges.dac_override) {
    return object;
  }
  closed_ = TRY(fs_.f_.writer->open_handle(object));
  return sys::ObjectRef{closed_.borrow(), ""};
}

Result<node::Orphan> FileSystem::Located::find_below(Node& node) {
  const sys::ObjectRef object = TRY(find(node));
  return orphan_ ? orphan_ : node::Orphan{pin_, object.name};
}

Status FileSystem::check_new_name(const char* name) const {
  const std::string_view view{name};
  if (view.size() > kNameMax) {
    return Errno{ENAMETOOLONG};
  }
  // It would be read as a whiteout by the next mount.
  return layer::is_aufs_name(view) ? Status{Errno{EPERM}} : Status{};
}

Result<Entry> FileSystem::lookup(Node& parent, const char* name) {
  if (std::string_view{name}.size() > kNameMax) {
    return Errno{ENAMETOOLONG};
  }
  return resolve(parent, name);
}

Result<Entry> FileSystem::resolve(Node& parent, const char* name) {
  if (NodeRef known = table_.find(parent, name)) {
    // The server is the only writer: what it knows needs no search.
    const FileStat stat = TRY(stat_node(*known));
    return Entry{std::move(known), stat};
  }
  SharedLock tree{locks_.tree};
  DirLock lock{locks_, LockMode::kShared, &parent};
  NodeDirectory directory{handles_, parent};
  return resolve_in(directory, parent, name, nullptr);
}

Result<Entry> FileSystem::resolve_in(NodeDirectory& directory, Node& parent, const char* name,
                                     const ListingHint* hint) {
  if (parent.directory().removed.load()) {
    return Errno{ENOENT};
  }
  // A copy-up of the directory itself only adds a part, which cannot have the name.
  const bool current = hint != nullptr && hint->version == parent.directory().version.load() &&
                       hint->part_count == directory.parts().size();
  merge::Lookup::Hint known{.lazily = true};
  if (current) {
    known.places = hint->places;
  } else {
    known.first_lower = first_lower(parent, name);
  }
  merge::Resolution resolution = TRY(lookup_.find(directory, name, known));
  count_wasted(parent, resolution.wasted_probes);
  if (!resolution.found) {
    return Errno{ENOENT};
  }
  NodeSeed seed = TRY(seed_of(directory, parent, name, resolution));
  seed.told = hint != nullptr;
  NodeRef node = table_.attach(parent, name, std::move(seed));
  const FileStat stat = view_locked(*node, resolution.stat);
  return Entry{std::move(node), stat};
}

Result<NodeSeed> FileSystem::seed_of(NodeDirectory& directory, Node& parent, const char* name,
                                     merge::Resolution& resolution) {
  NodeSeed seed;
  seed.entry_type = entry_type_of(resolution.stat.mode);
  seed.layer = resolution.layer;
  seed.ino = resolution.shown_ino;
  if (resolution.stat.is_directory() && resolution.layer != layer::kUpper) {
    seed.lower_stat = view_found(resolution.layer, resolution.stat, resolution.shown_ino,
                                 resolution.parts.size());
  }
  seed.parts = std::move(resolution.parts);
  if (resolution.stat.is_directory() && !resolution.redirect.empty()) {
    seed.lower_path =
        std::make_unique<const std::string>(redirected_path(parent, resolution.redirect));
  }
  if (resolution.data) {
    resolution.data->lower_path = resolution.redirect.empty()
                                      ? lower_path_of(parent, name)
                                      : redirected_path(parent, resolution.redirect);
    seed.data = resolution.data;
  }
  if (resolution.stat.is_directory() || resolution.stat.nlink < 2) {
    return seed;
  }
  if (resolution.layer == layer::kUpper) {
    TRY(seed_upper_link(directory, name, resolution, seed));
  } else {
    TRY(seed_lower_link(directory, parent, name, resolution, seed));
  }
  return seed;
}

Status FileSystem::seed_lower_link(NodeDirectory& directory, Node& parent, const char* name,
                                   merge::Resolution& resolution, NodeSeed& seed) {
  if (!f_.index) {
    return {};  // each name is a file of its own once it is changed, as with the kernel's index=off
  }
  std::size_t index = 0;
  while (directory.parts()[index].layer != resolution.layer) {
    ++index;
  }
  const sys::FdPin dir = TRY(directory.open_part(index));
  const auto origin = TRY(layer::encode_origin(f_.stack[resolution.layer], {dir->borrow(), name}));
  if (!origin) {
    return {};
  }
  seed.lower_key = node::LinkKey{resolution.stat.dev, resolution.stat.ino};
  auto copy =
      TRY(layer::find_indexed(f_.workdir->index(), *origin,
                              layer::Reading{.user = f_.stack.rules().user, .lift_mode = true}));
  if (!copy) {
    return {};
  }
  // Another name of this inode was copied up: this one is it, too.
  const layer::FileMarks& marks = copy->marks;
  const auto lower_nlink = static_cast<std::int64_t>(resolution.stat.nlink);
  seed.layer = layer::kUpper;
  seed.index_name = std::move(copy->name);
  seed.upper_key = node::LinkKey{copy->stat.dev, copy->stat.ino};
  const auto upper_nlink = static_cast<std::int64_t>(copy->stat.nlink);
  seed.union_nlink =
      marks.nlink ? layer::union_link_count(*marks.nlink, upper_nlink, lower_nlink) : lower_nlink;
  if (marks.metacopy && !seed.data) {
    // The lower inode of this name is the one that the index entry was copied from.
    const std::string above = directory.part_path(index);
    seed.data = merge::DataLocation{resolution.layer,
                                    above.empty() ? std::string{name} : above + '/' + name,
                                    resolution.stat.blocks_512, lower_path_of(parent, name)};
  } else if (!marks.metacopy) {
    seed.data.reset();  // the copy is complete, whatever the lower file is
  }
  resolution.stat = copy->stat;
  return {};
}

Status FileSystem::seed_upper_link(NodeDirectory& parent, const char* name,
                                   merge::Resolution& resolution, NodeSeed& seed) {
  seed.upper_key = node::LinkKey{resolution.stat.dev, resolution.stat.ino};
  if (!resolution.marks.nlink || !resolution.marks.origin || !f_.index) {
    return {};
  }
  const sys::FdPin dir = TRY(parent.open_part(0));
  std::optional<std::string> origin;
  for (const XattrNamespace space : {XattrNamespace::kTrusted, XattrNamespace::kUser}) {
    if (!origin && (space == XattrNamespace::kTrusted || f_.stack.rules().user)) {
      origin =
          TRY(sys::get_xattr({dir->borrow(), name}, layer::mark_name(space, layer::Mark::kOrigin)));
    }
  }
  if (!origin || origin->empty()) {
    return {};
  }
  std::string index_name = layer::index_name(*origin);
  const auto indexed = sys::stat_object({f_.workdir->index(), index_name.c_str()});
  if (!indexed || indexed->ino != resolution.stat.ino) {
    return {};
  }
  // The count may be relative to the lower inode: ask what lies below this name.
  std::int64_t lower_nlink = 0;
  const auto below = lookup_.find(parent, name, {merge::NamePlaces::from(1)});
  if (below && below->found && TRY(is_origin(parent, name, *below, *origin))) {
    lower_nlink = static_cast<std::int64_t>(below->stat.nlink);
    seed.lower_key = node::LinkKey{below->stat.dev, below->stat.ino};
  }
  seed.union_nlink = layer::union_link_count(
      *resolution.marks.nlink, static_cast<std::int64_t>(resolution.stat.nlink), lower_nlink);
  seed.index_name = std::move(index_name);
  return {};
}

std::string FileSystem::lower_path(Node& directory) {
  if (&directory == &table_.root()) {
    return {};
  }
  if (directory.directory().lower_path) {
    return *directory.directory().lower_path;
  }
  const NodeNames names = table_.names_of(directory);
  return names.parent == nullptr ? std::string{}
                                 : lower_path_of(*names.parent, names.dentry->view());
}

std::string FileSystem::lower_path_of(Node& parent, std::string_view name) {
  std::string path = lower_path(parent);
  if (!path.empty()) {
    path += '/';
  }
  return path.append(name);
}

std::string FileSystem::redirected_path(Node& parent, const std::string& redirect) {
  return redirect.front() == '/' ? redirect.substr(1) : lower_path_of(parent, redirect);
}

/// Whether what lies below is the file that an upper file was copied from.
Result<bool> FileSystem::is_origin(NodeDirectory& parent, const char* name,
                                   const merge::Resolution& below, const std::string& origin) {
  std::size_t index = 1;
  while (parent.parts()[index].layer != below.layer) {
    ++index;
  }
  const sys::FdPin dir = TRY(parent.open_part(index));
  const auto encoded = TRY(layer::encode_origin(f_.stack[below.layer], {dir->borrow(), name}));
  return encoded && *encoded == origin;
}

Result<NodeRef> FileSystem::child(Node& parent, const char* name) {
  if (NodeRef known = table_.find(parent, name)) {
    return known;
  }
  Entry entry = TRY(resolve(parent, name));
  return std::move(entry.node);
}

Result<FileSystem::UpperPlace> FileSystem::upper_place(Node& directory) {
  if (directory.directory().removed.load()) {
    return Errno{ENOENT};
  }
  UpperPlace place;
  place.part = &directory.directory().parts.front();
  if (place.part->layer != layer::kUpper) {
    return Errno{ESTALE};
  }
  place.fd = TRY(handles_.open(directory, *place.part));
  return place;
}

Result<FileSystem::UpperState> FileSystem::upper_state(const UpperPlace& place, const char* name) {
  const auto probed =
      TRY(layer::probe(place.fd->borrow(), name, place.part->aufs, f_.stack.reading()));
  switch (probed.verdict) {
    case layer::Verdict::kAbsent:
      return UpperState::kAbsent;
    case layer::Verdict::kWhiteout:
      return UpperState::kWhiteout;
    case layer::Verdict::kObject:
      return UpperState::kObject;
  }
  return UpperState::kAbsent;
}

Result<bool> FileSystem::lower_has(Node& directory, const char* name) {
  if (directory.directory().parts.size() < 2) {
    return false;
  }
  NodeDirectory access{handles_, directory};
  return lookup_.exists_below(access, name,
                              {merge::NamePlaces::from(1), first_lower(directory, name)});
}

/// 0 where nothing is known.
layer::LayerIndex FileSystem::first_lower(Node& directory, const char* name) {
  const auto names = lower_names_.find(directory);
  return names ? names->first_layer(name) : layer::LayerIndex{0};
}

/// Makes the index of a directory's lower names once asking its layers in vain has cost about as
/// much. The caller holds tree and the directory's DirLock.
void FileSystem::count_wasted(Node& directory, std::uint32_t probes) {
  if (probes == 0) {
    return;
  }
  node::DirectoryData& data = directory.directory();
  const std::uint32_t wasted = data.wasted_probes.fetch_add(probes) + probes;
  const auto first = static_cast<std::uint32_t>(kProbesPerPart * data.parts.size());
  if (wasted < std::max(data.index_after.load(), first)) {
    return;
  }
  data.index_after.store(wasted * kProbesPerPart);  // the next attempt, if this one is too large
  NodeDirectory access{handles_, directory};
  const auto names = merge::LowerNames::read(access, wasted * kNamesPerProbe);
  if (names && *names) {  // a layer that may be searched but not read: asked name by name
    lower_names_.put(directory, *names);
  }
}

}  // namespace plyfs::ops
