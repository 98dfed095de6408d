// readdir and readdirplus.
#include "ops/filesystem.h"
#include "sys/object_stat.h"

namespace plyfs::ops {

using node::DirLock;
using node::LockMode;
using node::Node;
using node::NodeDirectory;
using node::NodeRef;

/// Tells entries of a listing with their attributes. Keeps locks and handles from one to the next.
class FileSystem::EntryTeller {
 public:
  EntryTeller(FileSystem& fs, Node& directory, const merge::Listing& listing, Plus plus)
      : fs_(fs),
        directory_(directory),
        listing_(listing),
        plus_(plus),
        some_known_(fs.table_.has_names(directory)) {}

  /// False where `sink` has no more room.
  bool tell(const merge::ListedEntry& entry, DirectorySink& sink) {
    const char* const name = listing_.name(entry);
    auto [known, told] =
        some_known_ ? fs_.table_.find_listed(directory_, name) : node::NodeTable::Listed{};
    if (told && plus_ == Plus::kUntold) {
      return sink.add(name, known->ino(), entry.type, listing_.offset(entry));
    }
    auto found = known ? ask_known(std::move(known)) : resolve(entry);
    if (!found && found.error() == ENOENT) {
      return true;
    }
    const std::uint64_t ino = found ? found->stat.ino : entry.ino;
    return sink.add_plus(name, found ? &*found : nullptr, ino, entry.type, listing_.offset(entry));
  }

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

  Result<Entry> ask_known(NodeRef known) {
    held_.reset();  // it takes the locks itself
    const FileStat stat = TRY(fs_.stat_node(*known));
    fs_.table_.set_told(*known);
    return Entry{std::move(known), stat};
  }

  Result<Entry> resolve(const merge::ListedEntry& entry) {
    if (!held_) {
      held_.emplace(fs_, directory_);
    }
    const ListingHint hint{entry.places(), listing_.version(), listing_.part_count()};
    return fs_.resolve_in(held_->access, directory_, listing_.name(entry), &hint);
  }

  FileSystem& fs_;
  Node& directory_;
  const merge::Listing& listing_;
  const Plus plus_;
  const bool some_known_;  ///< else nobody has looked into it: no name need be looked for
  std::optional<Held> held_;
};

Result<std::shared_ptr<const merge::Listing>> FileSystem::listing(Node& directory,
                                                                  std::uint64_t offset) {
  // From the start a reader sees the present names; one under way may go on with what it has,
  // because an offset means the same in every listing. (Who removes what it lists would make us
  // list the directory anew for each piece.)
  if (auto cached = listings_.find(directory)) {
    if (cached->version() == directory.directory().version.load()) {
      return cached;
    }
    if (offset != 0) {
      directory.directory().told_old = true;
      return cached;
    }
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

void FileSystem::names_changed(Node& directory) {
  directory.directory().told_old = false;
  changed(directory);
}

/// The present version, as DirectoryData::kept_since has it.
std::uint64_t FileSystem::kept_version(Node& directory) {
  return std::uint64_t{directory.directory().version.load()} + 1;
}

bool FileSystem::may_keep_listing(Node& directory) {
  const std::uint64_t now = kept_version(directory);
  const std::uint64_t since = directory.directory().kept_since.exchange(now);
  return (since == now || since == 0) && !directory.directory().told_old.load();
}

Status FileSystem::readdir(Node& directory, std::uint64_t offset, Plus plus, DirectorySink& sink) {
  if (offset == 0) {
    std::uint64_t none = 0;
    directory.directory().kept_since.compare_exchange_strong(none, kept_version(directory));
  }
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
  std::optional<EntryTeller> teller;
  if (plus != Plus::kNo) {
    teller.emplace(*this, directory, *listed, plus);
  }
  const auto& entries = listed->entries();
  bool room = true;
  for (std::size_t i = listed->position_after(offset); room && i < entries.size(); ++i) {
    room = teller ? teller->tell(entries[i], sink) : add_name(directory, *listed, entries[i], sink);
  }
  return {};
}

/// False where `sink` has no more room.
bool FileSystem::add_name(Node& directory, const merge::Listing& listing,
                          const merge::ListedEntry& entry, DirectorySink& sink) {
  const auto ino = listed_ino(directory, listing, entry);
  return (!ino && ino.error() == ENOENT) ||
         sink.add(listing.name(entry), ino.value_or(listing.offset(entry)), entry.type,
                  listing.offset(entry));
}

}  // namespace plyfs::ops
