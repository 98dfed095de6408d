// Objects of a list of unknown origin, made below one directory and nowhere else.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/file_stat.h"
#include "sys/unique_fd.h"
#include "tar/acl.h"
#include "tar/handles.h"

namespace plyfs::tar {

/// A path by its components; empty is the root.
using Names = std::vector<std::string>;
std::string path_of(const Names& names);

/// What an object gets when it has its content.
struct Attributes {
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  TimeChange atime;
  TimeChange mtime;
  std::vector<std::pair<std::string, std::string>> xattrs;
  std::string access_acl;
  std::string default_acl;
};

/// What an entry says, ACLs left out: those take `Ids`.
Attributes attributes_of(archive_entry* entry);

struct MakerRules {
  /// A later object takes the place of a directory of its name, too; else EISDIR.
  bool replace_directories = false;
  /// A leading slash means the root; else such names are refused.
  bool accept_absolute = false;
  /// Owners that this user namespace does not know stay ours; else EINVAL.
  bool squash_unknown_owners = false;
  std::size_t most_depth = SIZE_MAX;  ///< components of a path
};

/// Names must be without "..", and no link is followed, neither on the way to an object nor to the
/// target of a hard link: else EINVAL, and `why` says what is wrong. A later object replaces an
/// earlier one of its name. Owners are set where this user may; where not, suid and sgid bits go.
/// The directory must be empty and nobody else may change it. Guarded by caller.
class TreeMaker {
 public:
  /// Told what cannot be made or kept: a device, an xattr, an owner.
  using LeftOut = std::function<void(const std::string& what, Errno error)>;

  TreeMaker(sys::BorrowedFd root, MakerRules rules, LeftOut left_out, std::string& why);

  /// The components of a path as an archive has it; empty for the root.
  Result<Names> names_of(const char* path);
  Errno refuse(const char* why);

  /// A directory, new or there already, with these attributes in the end.
  Status directory(const Names& names, Attributes attributes);
  /// An empty regular file for I/O, to be closed by finish_file().
  Result<sys::UniqueFd> begin_file(const Names& names, const Attributes& attributes);
  Status finish_file(sys::UniqueFd file, const Attributes& attributes);
  Status symlink(const Names& names, const char* target, const Attributes& attributes);
  /// A fifo or a device; one that this user may not make is left out.
  Status node(const Names& names, mode_t type, dev_t device, const Attributes& attributes);
  Status hard_link(const Names& names, const Names& target);

  /// Adds to what a directory gets in the end. The directory is made where it is not there.
  Status add_xattr(const Names& directory, const std::string& name, const std::string& value);
  /// What is at `names`: ENOENT, ENOTDIR; no link is followed.
  Result<FileStat> look(const Names& names);

  /// Attributes of all directories. Nothing may follow. On an error `at` is the path.
  Status finish(std::string& at);
  /// Whether the archive named this directory, or only what is in it.
  [[nodiscard]] bool is_implied(const Names& directory) const;
  [[nodiscard]] const std::map<Names, Attributes>& directories() const { return directories_; }
  [[nodiscard]] Attributes* attributes(const Names& directory);

 private:
  enum class Missing : std::uint8_t { kMake, kFail };
  struct Open {
    std::string name;
    sys::UniqueFd fd;
  };
  struct Place {
    sys::BorrowedFd parent;
    const char* name;
  };

  Status keep(const Names& names, Attributes attributes);
  Result<sys::BorrowedFd> enter(const Names& names, std::size_t count, Missing missing);
  Result<Place> place_of(const Names& names);
  Status clear(const Names& names, Place place);
  template <typename Make>
  Status make_cleared(const Names& names, Place place, Make make);
  Status set_owner(const Attributes& attributes, sys::ObjectRef object, FileStat& now);
  Status set_xattr(sys::ObjectRef object, const std::string& name, const std::string& value);
  Status set(const Attributes& attributes, sys::ObjectRef object, mode_t type);
  Status finish_directory(const Names& names, const Attributes& attributes);

  const sys::BorrowedFd root_;
  const MakerRules rules_;
  const LeftOut left_out_;
  std::string& why_;
  const bool may_chown_;
  const Attributes implied_;  ///< of directories that are gone through without being named
  std::vector<Open> open_;    ///< the directories on the way to the last object
  std::map<Names, Attributes> directories_;
  std::map<Names, bool> implied_names_;
  std::size_t kept_names_ = 0;  ///< components of all keys of `directories_`
};

}  // namespace plyfs::tar
