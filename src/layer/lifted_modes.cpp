#include "layer/lifted_modes.h"

#include <cstdio>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/log.h"
#include "sys/dir_ops.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::layer {
namespace {

constexpr std::string_view kRecordPrefix = "lifted.";
constexpr mode_t kOwnerOfDirectory = 0700;
constexpr mode_t kOwnerOfFile = 0600;

mode_t lifted_from(const FileStat& stat, mode_t mode) {
  return mode | (stat.is_directory() ? kOwnerOfDirectory : kOwnerOfFile);
}

/// Empty where the kernel cannot say.
std::string path_of(sys::BorrowedFd fd) {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd.get()), error).string();
}

/// "MODE INODE PATH", as record() writes it.
struct Record {
  unsigned mode = 0;
  unsigned long long inode = 0;
  std::string path;

  static bool parse(const std::string& text, Record& record) {
    int at = 0;
    if (std::sscanf(text.c_str(), "%o %llu %n", &record.mode, &record.inode, &at) != 2 || at == 0) {
      return false;
    }
    record.path = text.substr(static_cast<std::size_t>(at));
    return (record.mode & ~kPermissionMask) == 0;
  }
};

Status pay(sys::ObjectRef entry, sys::BorrowedFd upper) {
  Record record;
  const FileStat written = TRY(sys::stat_object(entry));
  if (!written.is_symlink() || !Record::parse(TRY(sys::read_link(entry)), record)) {
    return {};
  }
  const sys::UniqueFd handle = TRY(
      record.path.empty() ? sys::duplicate(upper) : sys::open_beneath(upper, record.path.c_str()));
  const sys::ObjectRef object{handle.borrow(), ""};
  const FileStat stat = TRY(sys::stat_object(object));
  // Who wrote the record could have changed the mode as well; and only what was lifted is put back.
  const bool is_it = stat.ino == record.inode && stat.uid == written.uid &&
                     (stat.mode & kPermissionMask) == lifted_from(stat, record.mode);
  return is_it ? sys::change_mode(object, record.mode) : Status{};
}

}  // namespace

void LiftedModes::record_in(sys::BorrowedFd staging, sys::BorrowedFd upper) {
  staging_ = staging;
  upper_path_ = path_of(upper);
}

void LiftedModes::put_back(sys::BorrowedFd staging, sys::BorrowedFd upper) {
  const auto listing = sys::open_listing({staging, ""});
  if (!listing) {
    return;
  }
  std::vector<std::string> names;
  (void)sys::read_directory(listing->borrow(), [&](const sys::RawEntry& entry) {
    if (std::string_view{entry.name, entry.name_size}.starts_with(kRecordPrefix)) {
      names.emplace_back(entry.name, entry.name_size);
    }
    return sys::Visit::kContinue;
  });
  for (const std::string& name : names) {
    const Status paid = pay({staging, name.c_str()}, upper);
    if (!paid && paid.error() != ENOENT) {
      log::write(log::Level::kWarning, "putting back a mode that a crash left lifted (" + name +
                                           "): " + paid.error().message());
    }
  }
}

/// Empty where nothing needs one: what lies in the work directory goes away anyway.
std::string LiftedModes::record(sys::BorrowedFd handle, mode_t mode, sys::ObjectRef after) {
  const std::string inside = upper_path_ + '/';
  std::string path = upper_path_.empty() ? std::string{} : path_of(after.dir);
  if (path != upper_path_ && !path.starts_with(inside)) {
    return {};
  }
  if (!after.by_fd()) {
    path.append("/").append(after.name);
  }
  const auto stat = sys::stat_object({handle, ""});
  if (!stat || upper_path_.empty()) {
    return {};
  }
  char numbers[64];
  (void)std::snprintf(numbers, sizeof numbers, "%o %llu ", mode,
                      static_cast<unsigned long long>(stat->ino));
  const std::string below =
      path.size() > inside.size() ? path.substr(inside.size()) : std::string{};
  std::string name = std::string{kRecordPrefix} + std::to_string(next_++);
  // Where it fails (a path that is too long, no room) a crash leaves the mode lifted.
  const Status made = sys::make_symlink((numbers + below).c_str(), staging_, name.c_str());
  return made ? name : std::string{};
}

LiftedModes::Lifts::Lifts(LiftedModes& modes, std::initializer_list<LiftedObject> objects)
    : modes_(modes) {
  for (const LiftedObject& object : objects) {
    lift(object);
  }
}

void LiftedModes::Lifts::lift(const LiftedObject& object) NO_THREAD_SAFETY_ANALYSIS {
  auto handle = sys::open_handle(object.object);
  const auto stat =
      handle ? sys::stat_object({handle->borrow(), ""}) : Result<FileStat>{handle.error()};
  if (!stat || !sys::is_own(*stat) || stat->is_symlink() || count_ == kMost ||
      (object.moves && !stat->is_directory())) {
    return;
  }
  const mode_t mode = stat->mode & kPermissionMask;
  const mode_t wanted = lifted_from(*stat, mode);
  if (wanted == mode) {
    return;
  }
  std::string name = modes_.record(handle->borrow(), mode, object.after);
  if (sys::change_mode({handle->borrow(), ""}, wanted)) {
    lifted_[count_++] = {std::move(*handle), mode, std::move(name)};
  } else if (!name.empty()) {
    (void)sys::unlink_file(modes_.staging_, name.c_str());
  }
}

Status LiftedModes::Lifts::put_back(const One& one) {
  TRY(modes_.gate_());
  return sys::change_mode({one.handle.borrow(), ""}, one.mode);
}

LiftedModes::Lifts::~Lifts() {
  while (count_ > 0) {
    const One& one = lifted_[--count_];
    const Status back = put_back(one);
    if (!back) {
      // The record stays, and the next mount tries again.
      log::write(log::Level::kWarning, "cannot put back the mode of " +
                                           log::printable(path_of(one.handle.borrow())) + ": " +
                                           back.error().message());
    } else if (!one.record.empty()) {
      (void)sys::unlink_file(modes_.staging_, one.record.c_str());
    }
  }
}

}  // namespace plyfs::layer
