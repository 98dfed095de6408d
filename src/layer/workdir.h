// The work directory: where everything is staged before one rename makes it visible.
//
// Layout as kernel overlayfs: WORK/work (emptied at every mount), WORK/index (hard links of
// copied-up files, by file handle), WORK/work/incompat/volatile (a volatile mount is or was here).
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "layer/upper_writer.h"
#include "plyfs/options.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::layer {

class Workdir;

/// A name in the work directory that is removed again unless it was published.
class StagedEntry {
 public:
  StagedEntry(StagedEntry&& other) noexcept;
  StagedEntry& operator=(StagedEntry&&) = delete;
  StagedEntry(const StagedEntry&) = delete;
  StagedEntry& operator=(const StagedEntry&) = delete;
  ~StagedEntry();

  [[nodiscard]] const char* name() const { return name_; }
  [[nodiscard]] sys::BorrowedFd directory() const;
  [[nodiscard]] sys::ObjectRef object() const { return {directory(), name_}; }
  /// The one visible moment: renames the entry to `name` in `to`. With kRenameExchange what was
  /// there is now staged and will be removed; without, it is replaced.
  Status publish(sys::BorrowedFd to, const char* name, unsigned flags);
  /// Takes `name` away from `from`: it is now staged, and removed unless it is put back.
  Status take(sys::BorrowedFd from, const char* name);
  /// `done`; if that is a failure, what take() took is put back first.
  Status or_put_back(Status done, sys::BorrowedFd to, const char* name);
  /// The caller moved or removed the entry itself.
  void dismiss() { workdir_ = nullptr; }

 private:
  friend class Workdir;
  explicit StagedEntry(Workdir& workdir, std::uint64_t number);

  Workdir* workdir_;
  char name_[24];
};

/// Thread-safe after construction.
class Workdir {
 public:
  /// Creates and empties WORK/work. `root` and `upper` are opened for reading and locked by the
  /// caller; the locks are held while the Workdir lives. EUCLEAN: a volatile mount has crashed.
  static Result<Workdir> open(sys::UniqueFd root, sys::UniqueFd upper, UpperWriter& writer);
  Workdir(Workdir&& other) noexcept;
  Workdir& operator=(Workdir&&) = delete;
  Workdir(const Workdir&) = delete;
  Workdir& operator=(const Workdir&) = delete;
  ~Workdir() = default;

  /// A fresh name; nothing is created yet.
  [[nodiscard]] StagedEntry stage();
  /// Creates WORK/index when it is missing.
  Status open_index();
  /// Marks the mount as volatile until clear_volatile(): kernel and plyfs refuse it after a crash.
  Status set_volatile();
  void clear_volatile();

  [[nodiscard]] sys::BorrowedFd staging() const { return staging_.borrow(); }
  [[nodiscard]] sys::BorrowedFd index() const { return index_.borrow(); }
  [[nodiscard]] UpperWriter& writer() { return *writer_; }
  /// Removes a staged object of any type, recursively for directories. What cannot be removed now
  /// is tried again by tidy().
  void discard(const char* name);
  /// Whoever stages something next calls it; and the next mount empties the staging area.
  void tidy();

 private:
  Workdir(sys::UniqueFd root, sys::UniqueFd upper, UpperWriter& writer)
      : root_(std::move(root)), upper_lock_(std::move(upper)), writer_(&writer) {}

  sys::UniqueFd root_;
  sys::UniqueFd upper_lock_;
  sys::UniqueFd staging_;
  sys::UniqueFd index_;
  UpperWriter* writer_;
  std::atomic<std::uint64_t> next_{1};
  std::atomic<bool> untidy_{false};
  Mutex left_mu_;
  std::vector<std::string> left_ GUARDED_BY(left_mu_);
};

/// Whether a work directory has an entry of that name, ours or kernel overlayfs's.
bool is_work_name(std::string_view name);

/// What fails once a change is visible is no failure of the change: it is told here, found by
/// `verify`, and cleared away by the next mount.
void log_clean_up(const std::string& what, Errno error);

/// Whether the directory has no entry at all, not even a whiteout.
Result<bool> holds_nothing(sys::BorrowedFd directory);

/// Removes everything in `directory`; used on staging areas only. First error wins.
Status empty_directory(UpperWriter& writer, sys::BorrowedFd directory);

}  // namespace plyfs::layer
