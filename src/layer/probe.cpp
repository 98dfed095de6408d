#include "layer/probe.h"

#include <string>

#include "layer/format.h"
#include "layer/marks.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::layer {
namespace {

constexpr std::uint8_t kScanAfter = 4;  // stats of `.wh.NAME` before the directory is scanned
constexpr std::uint8_t kNone = 254;
constexpr std::uint8_t kPresent = 255;
constexpr std::size_t kNameMax = 255;

Status scan(sys::BorrowedFd directory, AufsHint& hint) {
  auto listing = sys::open_listing({directory, ""});
  if (!listing) {
    // A directory that may be searched but not read: go on asking name by name.
    return listing.error() == EACCES ? Status{} : Status{listing.error()};
  }
  AufsHint::State state = AufsHint::State::kNone;
  TRY(sys::read_directory(listing->borrow(), [&](const sys::RawEntry& entry) {
    if (is_aufs_name({entry.name, entry.name_size})) {
      state = AufsHint::State::kPresent;
      return sys::Visit::kStop;
    }
    return sys::Visit::kContinue;
  }));
  hint.set(state);
  return {};
}

/// Whether `.wh.NAME` exists beside NAME.
Result<bool> has_aufs_whiteout(sys::BorrowedFd directory, const char* name, AufsHint& hint) {
  if (hint.state() == AufsHint::State::kUnknown && hint.count_lookup()) {
    TRY(scan(directory, hint));
  }
  if (hint.state() == AufsHint::State::kNone) {
    return false;
  }
  const std::string whiteout = aufs_whiteout_name(name);
  if (whiteout.size() > kNameMax) {
    return false;
  }
  auto found = sys::stat_object({directory, whiteout.c_str()});
  if (!found && found.error() == ENOENT) {
    return false;
  }
  (void)TRY(std::move(found));
  return true;
}

}  // namespace

AufsHint::State AufsHint::state() const {
  const std::uint8_t value = value_.load(std::memory_order_relaxed);
  if (value == kNone) {
    return State::kNone;
  }
  return value == kPresent ? State::kPresent : State::kUnknown;
}

std::uint8_t AufsHint::encode(State state) {
  switch (state) {
    case State::kUnknown:
      return 0;
    case State::kNone:
      return kNone;
    case State::kPresent:
      return kPresent;
  }
  return 0;
}

bool AufsHint::count_lookup() {
  const std::uint8_t value = value_.load(std::memory_order_relaxed);
  if (value >= kNone) {
    return false;
  }
  if (value >= kScanAfter) {
    return true;
  }
  value_.store(static_cast<std::uint8_t>(value + 1), std::memory_order_relaxed);
  return false;
}

Result<Probe> probe(sys::BorrowedFd directory, const char* name, AufsHint& hint, Reading reading) {
  Probe result;
  if (is_aufs_name(name)) {
    return result;
  }
  auto stat = sys::stat_object({directory, name});
  if (!stat) {
    if (stat.error() != ENOENT) {
      return stat.error();
    }
    if (TRY(has_aufs_whiteout(directory, name, hint))) {
      result.verdict = Verdict::kWhiteout;
      result.family = WhiteoutFamily::kAufs;
    }
    return result;
  }
  result.stat = *stat;
  if (result.stat.is_whiteout_device()) {
    result.verdict = Verdict::kWhiteout;
    result.family = WhiteoutFamily::kChar;
    return result;
  }
  if (result.stat.is_regular() && result.stat.size_bytes == 0 &&
      TRY(is_xattr_whiteout({directory, name}, reading))) {
    result.verdict = Verdict::kWhiteout;
    result.family = WhiteoutFamily::kXattr;
    return result;
  }
  result.verdict = Verdict::kObject;
  if (result.stat.is_directory()) {
    result.hides_lower = TRY(has_aufs_whiteout(directory, name, hint));
  }
  return result;
}

Result<bool> has_aufs_opaque(sys::ObjectRef directory, AufsHint& hint, Reading reading) {
  if (hint.state() == AufsHint::State::kNone) {
    return false;
  }
  // One call by way of the directory's name, which was found to be a directory.
  std::string way = directory.name;
  way += way.empty() ? "" : "/";
  way += kAufsOpaqueName;
  auto found = as_wanted(directory, reading, [&] {
    return sys::stat_object({directory.dir, way.c_str()});
  });
  if (found) {
    hint.set(AufsHint::State::kPresent);
    return true;
  }
  if (found.error() != ENOENT) {
    return found.error();
  }
  return false;
}

}  // namespace plyfs::layer
