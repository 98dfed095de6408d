// One name in one directory of one layer: absent, whiteout, or an object.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/file_stat.h"
#include "layer/marks.h"
#include "plyfs/options.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::layer {

enum class Verdict : std::uint8_t { kAbsent, kWhiteout, kObject };

struct Probe {
  Verdict verdict = Verdict::kAbsent;
  bool hides_lower = false;  ///< a `.wh.NAME` lies beside the object: nothing below shows through
  WhiteoutFamily family = WhiteoutFamily::kProbe;  ///< of a whiteout
  FileStat stat;                                   ///< of the object
};

/// What is known about `.wh.` names in one directory of one layer. Unknown at first; after a few
/// lookups the directory is scanned once, so that plain directories cost no second stat per name.
/// Thread-safe (a lost race only repeats the scan).
class AufsHint {
 public:
  enum class State : std::uint8_t { kUnknown, kNone, kPresent };
  [[nodiscard]] State state() const;
  void set(State state) { value_.store(encode(state), std::memory_order_relaxed); }
  /// Counts a lookup in unknown state; true when it is time to scan.
  bool count_lookup();
  AufsHint() = default;
  AufsHint(const AufsHint& other) : value_(other.value_.load(std::memory_order_relaxed)) {}
  AufsHint& operator=(const AufsHint& other) {
    value_.store(other.value_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    return *this;
  }

 private:
  static std::uint8_t encode(State state);
  std::atomic<std::uint8_t> value_{0};
};

/// Probes `name` in `directory`. Errors other than absence are returned, never taken for absence.
/// An empty file is asked for a whiteout xattr also where its directory is not marked opaque=x: the
/// kernel's lookup does the same (its listing does not).
/// A name that is itself a `.wh.` marker is absent: markers are never shown.
Result<Probe> probe(sys::BorrowedFd directory, const char* name, AufsHint& hint, Reading reading);

/// Whether `directory` holds `.wh..wh..opq`. `hint` is the directory's.
Result<bool> has_aufs_opaque(sys::ObjectRef directory, AufsHint& hint, Reading reading = {});

}  // namespace plyfs::layer
