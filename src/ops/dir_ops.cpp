// readdir and readdirplus.
#include "ops/filesystem.h"
#include "sys/object_stat.h"

namespace plyfs::ops {

using node::DirLock;
using node::LockMode;
using node::Node;
using node::NodeDirectory;
using node::NodeRef;

/// What somebody who goes through the names of a directory keeps between them: locks and handles.
class FileSystem::ManyNames {
 public:
  ManyNames(FileSystem& fs, Node& directory) : fs_(fs), directory_(directory) {}
  [[nodiscard]] Node& directory() { return directory_; }
  NodeDirectory& hold() {
    if (!held_) {
      held_.emplace(fs_, directory_);
    }
    return held_->access;
  }
  /// Before what takes the locks itself.
  void let_go() { held_.reset(); }

 private:
  struct Held {
    Held(FileSystem& fs, Node& directory)
        : tree(fs.locks_.tree),
          lock(fs.locks_, LockMode::kShared, &directory),
          access(fs.handles_, directory) {}
    SharedLock tree;
    DirLock lock;
    NodeDirectory access;
  };
  FileSystem& fs_;
  Node& directory_;
  std::optional<Held> held_;
};

Result<Entry> FileSystem::listed_entry(ManyNames& names, const char* name, NodeRef known,
                                       ListingHint hint) {
  if (known) {
    names.let_go();
    const FileStat stat = TRY(stat_node(*known));
    table_.set_told(*known);
    return Entry{std::move(known), stat};
  }
  return resolve_in(names.hold(), names.directory(), name, hint);
}

Result<std::shared_ptr<const merge::Listing>> FileSystem::listing(Node& directory,
                                                                  std::uint64_t offset) {
  // From the start a reader sees the present names; one under way may go on with what it has,
  // because an offset means the same in every listing.
  if (auto cached = listings_.find(directory);
      cached && (offset != 0 || cached->version() == directory.directory().version.load())) {
    return cached;
  }
  SharedLock tree{locks_.tree};
  DirLock lock{locks_, LockMode::kShared, &directory};
  if (directory.directory().removed.load()) {
    return std::make_shared<const merge::Listing>();
  }
  const std::uint32_t version = directory.directory().version.load();
  NodeDirectory access{handles_, directory};
  auto made = TRY(merge::list_directory(f_.stack, access, version));
  listings_.put(directory, made);
  return made;
}

Result<std::uint64_t> FileSystem::listed_ino(Node& directory, const merge::Listing& listing,
                                             const merge::ListedEntry& entry) {
  if (entry.ino != 0) {
    return entry.ino;
  }
  const char* name = listing.name(entry);
  if (NodeRef known = table_.find(directory, name)) {
    return known->ino();
  }
  SharedLock tree{locks_.tree};
  DirLock lock{locks_, LockMode::kShared, &directory};
  NodeDirectory access{handles_, directory};
  const merge::Resolution found = TRY(lookup_.find(access, name, {}));
  return found.found ? found.shown_ino : Result<std::uint64_t>{Errno{ENOENT}};
}

Status FileSystem::readdir(Node& directory, std::uint64_t offset, Plus plus, DirectorySink& sink) {
  const auto listed = TRY(listing(directory, offset));
  const std::uint8_t directory_type = entry_type_of(kTypeDirectory);
  if (offset < 1 && !sink.add(".", directory.ino(), directory_type, 1)) {
    return {};
  }
  if (offset < 2) {
    Node* parent = table_.names_of(directory).parent;
    const std::uint64_t ino = parent == nullptr ? directory.ino() : parent->ino();
    if (!sink.add("..", ino, directory_type, 2)) {
      return {};
    }
  }
  const auto& entries = listed->entries();
  ManyNames names{*this, directory};
  // Of a directory that nobody has looked into, no name need be looked for.
  const bool some_known = plus != Plus::kNo && table_.has_names(directory);
  for (std::size_t i = listed->position_after(offset); i < entries.size(); ++i) {
    const merge::ListedEntry& entry = entries[i];
    const char* name = listed->name(entry);
    bool room = true;
    if (plus != Plus::kNo) {
      auto [known, told] =
          some_known ? table_.find_listed(directory, name) : node::NodeTable::Listed{};
      if (told && plus == Plus::kUntold) {
        if (!sink.add(name, known->ino(), entry.type, entry.offset)) {
          break;
        }
        continue;
      }
      auto found = listed_entry(names, name, std::move(known),
                                {entry.places(), listed->version(), listed->part_count(), true});
      if (!found && found.error() == ENOENT) {
        continue;
      }
      const std::uint64_t ino = found ? found->stat.ino : entry.ino;
      room = sink.add_plus(name, found ? &*found : nullptr, ino, entry.type, entry.offset);
    } else {
      const auto ino = listed_ino(directory, *listed, entry);
      if (!ino && ino.error() == ENOENT) {
        continue;
      }
      room = sink.add(name, ino.value_or(entry.offset), entry.type, entry.offset);
    }
    if (!room) {
      break;
    }
  }
  return {};
}

}  // namespace plyfs::ops
