// Every version of a path, top down: which one is seen, and why the others are not.
//
// The rules are those of merge::Lookup, which reports each step of its search; here only the layers
// are added that the search had no reason to ask.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/file_stat.h"
#include "dump/directory.h"
#include "dump/open_stack.h"
#include "merge/lookup.h"
#include "plyfs/result.h"

namespace plyfs::dump {

enum class State : std::uint8_t {
  kSeen,            ///< what users see, or the topmost part of a directory
  kMerged,          ///< a further part of the directory
  kData,            ///< gives the data of a metadata-only copy above
  kAttributesOnly,  ///< a metadata-only copy under another one
  kWhiteout,        ///< a mark that hides
  kHidden,
};

enum class Cause : std::uint8_t {
  kNone,
  kWhiteout,
  kOpaque,          ///< an opaque directory: `mark` names the xattr or file
  kWhiteoutBeside,  ///< `.wh.NAME` beside a directory of that name
  kShadowed,        ///< a non-directory above, or one that ended the merging of directories
  kRedirected,      ///< a redirect leads the search elsewhere: `mark` is its value
  kHostMount,       ///< the host has mounted something on the way
  kVolume,          ///< a volume lies on top
  kDataOnly,        ///< the layer holds data for redirects and shows no names
  kIndexed,         ///< another of its hard links was changed: the index has what all names show
};

/// Why a version is not seen.
struct Reason {
  Cause cause = Cause::kNone;
  layer::LayerIndex layer = 0;  ///< of what hides
  std::string path;             ///< of what hides, in that layer
  WhiteoutFamily family = WhiteoutFamily::kProbe;
  std::string mark;
};

struct Version {
  layer::LayerIndex layer = 0;
  std::string path;         ///< in the layer, from its root
  std::string index_entry;  ///< name in WORK/index, of what lies there; `path` is empty then
  State state = State::kHidden;
  FileStat stat;                                   ///< not of `.wh.` whiteouts
  WhiteoutFamily family = WhiteoutFamily::kProbe;  ///< of a whiteout
  bool opaque = false;
  std::string opaque_mark;
  std::string redirect;
  bool metacopy = false;
  Reason reason;  ///< of hidden ones
};

struct Answer {
  std::string path;  ///< in the merged tree
  bool found = false;
  FileStat stat;                  ///< of the seen one
  layer::LayerIndex layer = 0;    ///< of the seen one
  std::optional<Errno> error;     ///< the lookup fails with it, in a mount too
  std::vector<Version> versions;  ///< top first
  std::string volume;             ///< source of the volume that shows something else here
};

/// A directory in one layer that is not part of the merged one.
struct HiddenPart {
  layer::LayerIndex layer = 0;
  std::string path;
  Reason reason;
};

/// A directory with all that the layers have at its path.
struct Place {
  std::shared_ptr<Directory> seen;  ///< null: the path is no directory in the merged tree
  std::vector<HiddenPart> hidden;
  std::string path;
};

Result<Place> root_place(const OpenStack& stack);

/// What is called `name` there. `resolution`, where given, gets what lookup found. Errors of a
/// layer become Answer::error.
Answer examine(const OpenStack& stack, Place& place, const std::string& name,
               merge::Resolution* resolution = nullptr);

/// The place below; has neither seen nor hidden parts when no layer has a directory there.
Place enter(Place& place, const std::string& name, const Answer& answer,
            merge::Resolution& resolution);

/// Directories in layers that could not be listed.
struct Unreadable {
  std::size_t directories = 0;
  layer::LayerIndex layer = 0;  ///< of the first
  std::string path;             ///< in that layer
  Errno error{EACCES};
  void add(layer::LayerIndex in, std::string at, Errno why);
};

/// All names that any layer has there, also of whiteouts, sorted by bytes. Directories that cannot
/// be read are left out and counted in `unreadable`.
std::vector<std::string> all_names(const OpenStack& stack, Place& place, Unreadable& unreadable);

/// Walks from the root to `path` ("/a/b", "a/b", ""). ENAMETOOLONG, EINVAL for `..`.
struct Target {
  Place parent;
  Answer answer;  ///< of the root when the path is ""
  merge::Resolution resolution;
};
Result<Target> find_path(const OpenStack& stack, const std::string& path);

/// The volume whose subtree the path is in; null when it is in none.
const std::string* volume_over(const OpenStack& stack, const std::string& path);

}  // namespace plyfs::dump
