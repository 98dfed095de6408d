// $PLYFS_HOME: where volumes and the records of mounts are kept.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "plyfs/mount.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::store {

using Json = nlohmann::ordered_json;

/// What is being made beside a volume's _data, under its fill.lock, begins with one of these.
inline constexpr const char* kFillingPrefix = "_fill-";  // fill/fill.cpp
inline constexpr const char* kImportPrefix = "_import-";

/// HOME/volumes/NAME/{_data,volume.json,use.lock,fill.lock}; HOME/mounts/NAME/{record.json,lock}.
/// Names that begin with a dot are the store's own: mounts without a name, things half made or half
/// removed. Everything short is done under HOME/lock. Immutable.
class Home {
 public:
  /// $PLYFS_HOME, else /var/lib/plyfs for root, else $XDG_DATA_HOME/plyfs or ~/.local/share/plyfs.
  /// A failure when none of them is set, or when root would use what others can change. Creates
  /// nothing.
  static std::optional<Failure> find(Home& home);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string volumes() const { return path_ + "/volumes"; }
  [[nodiscard]] std::string mounts() const { return path_ + "/mounts"; }
  [[nodiscard]] std::string volume(const std::string& name) const { return volumes() + "/" + name; }
  [[nodiscard]] std::string mount(const std::string& name) const { return mounts() + "/" + name; }

  /// Makes the directories and takes the store's lock, waiting for its holder. Removes what a
  /// crash left half made or half removed.
  std::optional<Failure> lock(sys::UniqueFd& held) const;

  /// Moves `path` (in volumes or mounts) out of sight, in one step. The caller removes what comes
  /// back, best without the lock. Needs the store's lock.
  [[nodiscard]] Result<std::string> discard(const std::string& path) const;

 private:
  std::string path_;
};

/// A directory of the store: made, or shut to others if an older version left it open. Setuid files
/// and devices of a volume or a layer must not be reachable by its path.
std::error_code make_private(const std::string& path);

/// The names in a directory, sorted; those that begin with a dot only when asked for. Empty when
/// the directory is not there.
enum class Hidden : unsigned char { kNo, kYes };
std::vector<std::string> names_in(const std::string& directory, Hidden hidden);

Result<Json> read_json(const std::string& path);
/// EILSEQ for text that is not UTF-8.
Status write_json(const std::string& path, const Json& json);
/// As docker prints it.
std::string printed(const Json& json);

/// The present time, as "2026-01-31T12:00:00Z".
std::string timestamp();

}  // namespace plyfs::store
