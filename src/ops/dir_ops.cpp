// readdir and readdirplus.
#include "ops/filesystem.h"
#include "sys/object_stat.h"

namespace plyfs::ops {

using node::DirLock;
using node::LockMode;
using node::Node;
using node::NodeDirectory;
using node::NodeRef;

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
  for (std::size_t i = listed->position_after(offset); i < entries.size(); ++i) {
    const merge::ListedEntry& entry = entries[i];
    const char* name = listed->name(entry);
    bool room = true;
    if (plus == Plus::kYes) {
      // The listing tells the topmost part that has the name, unless names changed since. (A
      // copy-up of the directory itself only adds a part at the top, which cannot have it.)
      auto found = resolve(directory, name, {entry.part, listed->version()});
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
