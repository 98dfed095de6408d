#pragma once

// Where layers, uppers and mount points lie: a tmpfs and an ext4 of our own, so that every system
// has the same filesystem beneath it.

#include <string>
#include <vector>

#include "process.h"

namespace plyfs::bench {

enum class Medium { kTmpfs, kExt4 };

const char* name_of(Medium medium);

/// A private directory in TMPDIR. By root: a tmpfs is mounted on it, and ext4 on a loop device
/// whose image has no name, so nothing outlives our mount namespace. By others: a directory in
/// /dev/shm stands for the tmpfs and one in TMPDIR for ext4, if they are that. The destructor
/// removes all.
class Storage {
 public:
  Storage(const Identity& user, const std::string& base);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  /// Why there is no such medium; empty if there is one. ext4 is made at the first question.
  std::string missing(Medium medium);
  /// A new empty directory of the user's.
  std::string fresh(Medium medium, const std::string& kind);
  /// Removes a directory that fresh() made.
  void remove(const std::string& directory) noexcept;
  /// For what is not measured: sockets, scripts, programs.
  [[nodiscard]] const std::string& scratch() const { return scratch_; }

 private:
  void mount_ext4();
  Identity user_;
  std::string base_;
  std::string shm_;
  std::string scratch_;
  bool ext4_tried_ = false;
  std::string ext4_problem_;
  unsigned made_ = 0;
};

/// Copies what is in each of `layers`, the last first, into `target`.
void copy_merged(const Identity& user, const std::vector<std::string>& layers,
                 const std::string& target);

/// Writes the dirty pages of the filesystem that holds `path`.
void sync_filesystem(const std::string& path);

}  // namespace plyfs::bench
