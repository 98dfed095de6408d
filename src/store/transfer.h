// A volume held while it is exported, or while an import puts another content in its place.
#pragma once

#include <optional>
#include <string>

#include "plyfs/mount.h"
#include "store/home.h"
#include "store/volumes.h"
#include "sys/unique_fd.h"

namespace plyfs::store {

/// Keeps a volume from being removed or replaced while it lives. Mounts may use it.
class HeldVolume {
 public:
  std::optional<Failure> hold(const std::string& name);
  /// Host path of its content.
  [[nodiscard]] const std::string& data() const { return volume_.data; }

 private:
  Volume volume_;
  sys::UniqueFd use_;
};

/// A new content for a volume, made beside the present one and put in its place in one step.
/// Guarded by caller. While it lives no mount begins to use the volume; the end of its life removes
/// what was not published, or what publish() replaced. If the process is killed, the next command
/// on the store removes it.
class Replacement {
 public:
  Replacement() = default;
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;
  ~Replacement();

  /// Refused while a mount uses the volume, and when it is not empty unless `replace`.
  std::optional<Failure> begin(const std::string& name, bool replace);
  /// An empty directory, 0700, for the new content.
  [[nodiscard]] const std::string& stage() const { return stage_; }
  /// What the volume has now.
  [[nodiscard]] const std::string& data() const { return volume_.data; }
  /// After the new content was synced.
  std::optional<Failure> publish();

 private:
  Home home_;
  Volume volume_;
  std::string stage_;  ///< empty: none
  bool replace_ = false;
  sys::UniqueFd filling_;
  sys::UniqueFd use_;
};

/// Whether an export, an import or a mount has it. Needs the store's lock.
bool is_held(const Home& home, const std::string& volume);

}  // namespace plyfs::store
