#include "layer/workdir.h"

#include <cstdio>
#include <vector>

#include "base/log.h"
#include "sys/creds.h"
#include "sys/dir_ops.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"

namespace plyfs::layer {
namespace {

constexpr mode_t kPrivateMode = 0700;
constexpr const char* kStagingName = "work";
constexpr const char* kIndexName = "index";
constexpr const char* kIncompatName = "incompat";
constexpr const char* kVolatileName = "volatile";

Result<sys::UniqueFd> make_and_open(UpperWriter& writer, sys::BorrowedFd dir, const char* name) {
  const Status made = writer.make_directory(dir, name, kPrivateMode);
  if (!made && made.error() != EEXIST) {
    return made.error();
  }
  return sys::open_directory_at(dir, name);
}

/// What is staged has the ACLs that it is given, never those that the directory above the work
/// directory hands down (as ovl_workdir_create()).
Status drop_acls(UpperWriter& writer, sys::BorrowedFd directory) {
  for (const char* const name : {"system.posix_acl_default", "system.posix_acl_access"}) {
    if (TRY(sys::get_xattr({directory, ""}, name))) {
      TRY(writer.remove_xattr({directory, ""}, name));
    }
  }
  return {};
}

Status remove_any(UpperWriter& writer, sys::BorrowedFd dir, const char* name) {
  const Status removed = writer.unlink_file(dir, name);
  if (removed || removed.error() == ENOENT) {
    return {};
  }
  if (removed.error() != EISDIR && removed.error() != EPERM) {
    return removed;
  }
  const sys::UniqueFd child = TRY(sys::open_directory_at(dir, name));
  TRY(empty_directory(writer, child.borrow()));
  return writer.remove_directory(dir, name);
}

}  // namespace

bool is_work_name(std::string_view name) { return name == kStagingName || name == kIndexName; }

Result<bool> holds_nothing(sys::BorrowedFd directory) {
  const sys::UniqueFd opened = TRY(sys::open_listing({directory, ""}));
  bool empty = true;
  TRY(sys::read_directory(opened.borrow(), [&](const sys::RawEntry&) {
    empty = false;
    return sys::Visit::kStop;
  }));
  return empty;
}

Status empty_directory(UpperWriter& writer, sys::BorrowedFd directory) {
  std::vector<std::string> names;
  auto listing = sys::open_listing({directory, ""});
  if (!listing && listing.error() == EACCES) {
    // A directory of the user's that its mode hides from an unprivileged daemon; it is ours to
    // remove, so open it up first.
    TRY(sys::change_mode({directory, ""}, kPrivateMode));
    listing = sys::open_listing({directory, ""});
  }
  const sys::UniqueFd opened = TRY(std::move(listing));
  TRY(sys::read_directory(opened.borrow(), [&](const sys::RawEntry& entry) {
    names.emplace_back(entry.name, entry.name_size);
    return sys::Visit::kContinue;
  }));
  Status first;
  for (const std::string& name : names) {
    const Status removed = remove_any(writer, directory, name.c_str());
    if (!removed && first) {
      first = removed;
    }
  }
  return first;
}

StagedEntry::StagedEntry(Workdir& workdir, std::uint64_t number) : workdir_(&workdir) {
  (void)std::snprintf(name_, sizeof name_, "#%llx", static_cast<unsigned long long>(number));
}

StagedEntry::StagedEntry(StagedEntry&& other) noexcept : workdir_(other.workdir_) {
  std::copy(std::begin(other.name_), std::end(other.name_), std::begin(name_));
  other.workdir_ = nullptr;
}

StagedEntry::~StagedEntry() {
  if (workdir_ != nullptr) {
    workdir_->discard(name_);
  }
}

sys::BorrowedFd StagedEntry::directory() const { return workdir_->staging(); }

Status StagedEntry::publish(sys::BorrowedFd to, const char* name, unsigned flags) {
  TRY(workdir_->writer().rename_entry(workdir_->staging(), name_, to, name, flags));
  if ((flags & sys::kRenameExchange) == 0) {
    dismiss();
  }
  return {};
}

Status StagedEntry::take(sys::BorrowedFd from, const char* name) {
  return workdir_->writer().rename_entry(from, name, workdir_->staging(), name_, 0);
}

Status StagedEntry::or_put_back(Status done, sys::BorrowedFd to, const char* name) {
  if (!done) {
    if (const Status back = publish(to, name, 0); !back) {
      log_clean_up("putting back " + log::printable(name), back.error());
    }
  }
  return done;
}

Workdir::Workdir(Workdir&& other) noexcept
    : root_(std::move(other.root_)),
      upper_lock_(std::move(other.upper_lock_)),
      staging_(std::move(other.staging_)),
      index_(std::move(other.index_)),
      writer_(other.writer_),
      next_(other.next_.load()) {}

Result<Workdir> Workdir::open(sys::UniqueFd root, sys::UniqueFd upper, UpperWriter& writer) {
  Workdir workdir{std::move(root), std::move(upper), writer};
  workdir.staging_ = TRY(make_and_open(writer, workdir.root_.borrow(), kStagingName));
  TRY(drop_acls(writer, workdir.staging()));
  auto incompat = sys::open_directory_at(workdir.staging(), kIncompatName);
  if (incompat && sys::stat_object({incompat->borrow(), kVolatileName})) {
    return Errno{EUCLEAN};
  }
  LiftedModes::put_back(workdir.staging(), workdir.upper_lock_.borrow());
  TRY(empty_directory(writer, workdir.staging()));
  writer.lifted().record_in(workdir.staging(), workdir.upper_lock_.borrow());
  return workdir;
}

StagedEntry Workdir::stage() {
  if (untidy_.load(std::memory_order_relaxed)) [[unlikely]] {
    tidy();
  }
  // What is staged gets its mode explicitly; the umask is that of the last request.
  sys::set_thread_umask(0);
  return StagedEntry{*this, next_.fetch_add(1, std::memory_order_relaxed)};
}

Status Workdir::open_index() {
  index_ = TRY(make_and_open(*writer_, root_.borrow(), kIndexName));
  return {};
}

Status Workdir::set_volatile() {
  const sys::UniqueFd incompat = TRY(make_and_open(*writer_, staging(), kIncompatName));
  const sys::UniqueFd marker = TRY(make_and_open(*writer_, incompat.borrow(), kVolatileName));
  return {};
}

void Workdir::clear_volatile() { discard(kIncompatName); }

void Workdir::discard(const char* name) {
  const Status removed = remove_any(*writer_, staging(), name);
  if (!removed) {
    log_clean_up(std::string{"removing the staged entry "} + name, removed.error());
    const MutexLock lock{left_mu_};
    left_.emplace_back(name);
    untidy_.store(true, std::memory_order_relaxed);
  }
}

void Workdir::tidy() {
  std::vector<std::string> left;
  {
    const MutexLock lock{left_mu_};
    left.swap(left_);
    untidy_.store(false, std::memory_order_relaxed);
  }
  for (const std::string& name : left) {
    discard(name.c_str());
  }
}

void log_clean_up(const std::string& what, Errno error) {
  log::write(log::Level::kWarning, what + ", after a change that is done: " + error.message() +
                                       "; the next mount clears it away");
}

}  // namespace plyfs::layer
