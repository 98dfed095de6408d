// Opening up, for the moment of one change, what a mode keeps from its own owner.
//
// A daemon without CAP_DAC_OVERRIDE may be shut out by the mode of its own user's object: a name in
// a 0555 directory cannot change, and that directory itself cannot move to another one (rename(2)
// writes its ".."). The owner may change the mode, so it is lifted, and put back after the change.
// What is owed meanwhile is written down in the work directory: a mount that follows a crash pays.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "plyfs/result.h"
#include "sys/owner_access.h"
#include "sys/unique_fd.h"

namespace plyfs::layer {

/// What a change needs its owner's rights on, and where that is once the change is done.
struct LiftedObject {
  sys::ObjectRef object;
  sys::ObjectRef after;
  bool moves = false;  ///< a directory needs it (its ".." changes), anything else does not
};

/// Thread-safe.
class LiftedModes {
 public:
  /// `gate` is asked before a mode is put back, as before every other change (UpperWriter).
  explicit LiftedModes(std::function<Status()> gate) : gate_(std::move(gate)) {}
  /// From now on what is owed is recorded in `staging`, by its path below `upper`. Both outlive
  /// every lift.
  void record_in(sys::BorrowedFd staging, sys::BorrowedFd upper);
  /// Puts back the modes that a daemon recorded in `staging` and left lifted: what can be found
  /// where the record says, is the same inode, of the record's owner, and has the lifted mode.
  static void put_back(sys::BorrowedFd staging, sys::BorrowedFd upper);

  /// Calls `attempt`; when it fails with EACCES, once more with `objects` lifted.
  template <typename Attempt>
  auto attempt(std::initializer_list<LiftedObject> objects, Attempt attempt)
      -> decltype(attempt()) {
    auto result = attempt();
    if (result || result.error() != EACCES) [[likely]] {
      return result;
    }
    // One lift at a time: of two on one object the second would keep the lifted mode for the real.
    const MutexLock lock{mu_};
    const Lifts lifts{*this, objects};
    return attempt();
  }
  /// Calls `change`, of a mode, while nothing is lifted.
  template <typename Change>
  auto unlifted(Change change) -> decltype(change()) {
    const MutexLock lock{mu_};
    return change();
  }

 private:
  static constexpr std::size_t kMost = 4;

  class Lifts {
   public:
    Lifts(LiftedModes& modes, std::initializer_list<LiftedObject> objects);
    ~Lifts();
    Lifts(const Lifts&) = delete;
    Lifts& operator=(const Lifts&) = delete;

   private:
    struct One {
      sys::UniqueFd handle;
      mode_t mode = 0;
      std::string record;  ///< its name; empty: none was needed, or none could be made
    };
    void lift(const LiftedObject& object);
    Status put_back(const One& one);

    LiftedModes& modes_;
    One lifted_[kMost];
    std::size_t count_ = 0;
  };

  std::string record(sys::BorrowedFd handle, mode_t mode, sys::ObjectRef after) REQUIRES(mu_);

  const std::function<Status()> gate_;
  Mutex mu_;
  sys::BorrowedFd staging_;
  std::string upper_path_;  ///< empty: nothing is recorded
  std::uint64_t next_ GUARDED_BY(mu_) = 0;
};

}  // namespace plyfs::layer
