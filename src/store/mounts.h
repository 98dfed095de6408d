// The records of mounts: named ones, and those without a name that use managed volumes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/options.h"
#include "plyfs/result.h"
#include "store/home.h"

namespace plyfs::store {

struct MountRecord {
  std::string key;   ///< the name of its directory; begins with a dot when the mount has none
  std::string name;  ///< empty: none
  std::string mountpoint;
  int pid = 0;
  std::string started;
  std::vector<std::string> lowers;
  std::size_t data_only = 0;  ///< how many of them, the last ones, hold only data
  std::string image;          ///< the digest of the image that the lowest layers are of
  std::string upper;
  std::string work;
  bool userxattr = false;  ///< marks in user.* are believed (layer/mark_rules)
  std::vector<VolumeMount> volumes;
  std::vector<std::string> volumes_from;
  bool live = false;  ///< its daemon holds the record's lock

  [[nodiscard]] bool uses(const std::string& volume) const;
  /// For messages: "web at /merged", "/merged".
  [[nodiscard]] std::string shown() const;
};

/// ENOENT, EPROTO.
Result<MountRecord> read_mount(const Home& home, const std::string& key);
Status write_mount(const Home& home, const MountRecord& record);

/// All records, sorted. Records without a name whose daemon died are removed on the way.
/// Needs the store's lock, so that nobody is taken for dead who is only just starting.
std::vector<MountRecord> list_mounts(const Home& home);

/// The record of that name, or of the live mount at that path; null when there is none.
const MountRecord* find_record(const std::vector<MountRecord>& records, const std::string& target);
/// `path` without links and dots, as far as it exists.
std::string same_path(const std::string& path);

/// docker's keys of one volume in `Mounts`.
Json mount_entry(const VolumeMount& volume);
Json inspected(const MountRecord& record);

}  // namespace plyfs::store
