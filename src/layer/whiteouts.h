// Writing whiteouts and opaque marks to the upper layer, in the family chosen for it.
#pragma once

#include <atomic>

#include "base/mutex.h"
#include "layer/layer_stack.h"
#include "layer/probe.h"
#include "layer/upper_abilities.h"
#include "layer/workdir.h"

namespace plyfs::layer {

/// One directory of the upper layer, as the writer needs it.
struct UpperDirectory {
  sys::BorrowedFd fd;
  AufsHint* hint;                 ///< updated when `.wh.` names are written
  std::atomic<bool>* xwhiteouts;  ///< set when the directory was marked opaque=x
};

/// Thread-safe; the caller holds the directory's lock exclusively for every call.
class Whiteouts {
 public:
  /// `workdir` and `upper` outlive it.
  Whiteouts(Workdir& workdir, const Layer& upper, const UpperAbilities& abilities)
      : workdir_(workdir), upper_(upper), abilities_(abilities) {}

  /// Hides the layers below at `name`, where the upper has nothing.
  Status add(const UpperDirectory& dir, const char* name);
  /// Replaces the upper's file `name` by a whiteout.
  Status replace_file(const UpperDirectory& dir, const char* name);
  /// Replaces the upper's directory `name` (empty but for whiteouts) by a whiteout.
  Status replace_directory(const UpperDirectory& dir, const char* name);
  /// Removes what hides `name`, after an object was published there or to undo add(). The change
  /// that needs it is visible already: a failure is logged, and what stays hides nothing.
  enum class Present : std::uint8_t { kWhiteoutOnly, kObjectBeside };
  void clean_up(const UpperDirectory& dir, const char* name, Present present);
  /// Publishes a staged object at `name`, over a whiteout if there is one.
  Status publish_over(StagedEntry& staged, const UpperDirectory& dir, const char* name,
                      bool is_directory);
  /// Renames `from` to `to` inside the upper and leaves a whiteout at `from`. A failure leaves both
  /// as they were.
  Status rename_leaving(const UpperDirectory& from_dir, const char* from,
                        const UpperDirectory& to_dir, const char* to);
  Status set_opaque(sys::BorrowedFd directory);
  [[nodiscard]] WhiteoutFamily family() const { return abilities_.whiteouts; }
  [[nodiscard]] const UpperAbilities& abilities() const { return abilities_; }

 private:
  Status remove(const UpperDirectory& dir, const char* name, Present present);
  Status unlink_behind_mark(const UpperDirectory& dir, const char* name, Status unlinked);
  Status leave_staged(const UpperDirectory& from_dir, const char* from,
                      const UpperDirectory& to_dir, const char* to);
  Status leave_without_exchange(StagedEntry& staged, const UpperDirectory& from_dir,
                                const char* from, const UpperDirectory& to_dir, const char* to,
                                const FileStat* target);
  Status stage_whiteout(const StagedEntry& staged);
  Status prepare(const UpperDirectory& dir);
  Status make_shared_whiteout();
  Status make_aufs_file(sys::BorrowedFd dir, const char* name, AufsHint* hint);

  Workdir& workdir_;
  const Layer& upper_;
  const UpperAbilities abilities_;
  /// WORK/work/#w: the one inode that whiteouts are hard links of (kernel does the same).
  std::atomic<bool> shared_ready_{false};
  Mutex shared_mu_;
};

}  // namespace plyfs::layer
