#include "executor.h"

#include <dirent.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <vector>

namespace plyfs::difftest {
namespace {

/// Runs as the ordinary user for its lifetime. Real and saved ids stay root's, so that it can go
/// back; the effective capabilities go with the effective id, as they do for a real user.
class ActorScope {
 public:
  explicit ActorScope(Actor actor) : switched_(actor == Actor::kOrdinary) {
    if (!switched_) return;
    const std::array<gid_t, 2> groups = {kOrdinaryGid, kSecondGid};
    if (::setgroups(groups.size(), groups.data()) != 0 ||
        ::setresgid(static_cast<gid_t>(-1), kOrdinaryGid, static_cast<gid_t>(-1)) != 0 ||
        ::setresuid(static_cast<uid_t>(-1), kOrdinaryUid, static_cast<uid_t>(-1)) != 0) {
      std::perror("becoming the ordinary user");
      std::_Exit(3);
    }
  }
  ~ActorScope() {
    if (!switched_) return;
    const gid_t root_group = 0;
    if (::setresuid(static_cast<uid_t>(-1), 0, static_cast<uid_t>(-1)) != 0 ||
        ::setresgid(static_cast<gid_t>(-1), 0, static_cast<gid_t>(-1)) != 0 ||
        ::setgroups(1, &root_group) != 0) {
      std::perror("becoming root again");
      std::_Exit(3);
    }
    // A change of the effective id makes a process undumpable and hides its /proc files from it.
    ::prctl(PR_SET_DUMPABLE, 1);
  }
  ActorScope(const ActorScope&) = delete;
  ActorScope& operator=(const ActorScope&) = delete;

 private:
  bool switched_;
};

std::string_view type_word(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "reg";
    case S_IFDIR:
      return "dir";
    case S_IFLNK:
      return "lnk";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "sock";
    case S_IFCHR:
      return "chr";
    case S_IFBLK:
      return "blk";
    default:
      return "?";
  }
}

char entry_letter(unsigned char type) {
  switch (type) {
    case DT_REG:
      return 'f';
    case DT_DIR:
      return 'd';
    case DT_LNK:
      return 'l';
    case DT_FIFO:
      return 'p';
    case DT_SOCK:
      return 's';
    case DT_CHR:
      return 'c';
    case DT_BLK:
      return 'b';
    default:
      return '?';
  }
}

bool is_attribute_kind(OpKind kind) {
  return (kind >= OpKind::kChmod && kind <= OpKind::kRemovexattr) || kind == OpKind::kStat ||
         kind == OpKind::kAccess || kind == OpKind::kStatfs;
}

/// Link-fd needs CAP_DAC_READ_SEARCH or /proc; entering a directory slot needs no rights at all.
Actor actor_of(const Operation& op) { return op.kind == OpKind::kLinkFd ? Actor::kRoot : op.actor; }

}  // namespace

std::string stat_words(const struct stat& attributes) {
  std::array<char, 128> text{};
  const std::string type{type_word(attributes.st_mode)};
  std::snprintf(text.data(), text.size(), "%s %04o %u:%u", type.c_str(),
                attributes.st_mode & 07777U, attributes.st_uid, attributes.st_gid);
  std::string words = text.data();
  // Directories: overlayfs reports 1 link or the real directory's; sizes belong to the file system.
  if (S_ISDIR(attributes.st_mode)) return words;
  words += " n" + std::to_string(attributes.st_nlink) + " s" + std::to_string(attributes.st_size);
  if (S_ISCHR(attributes.st_mode) || S_ISBLK(attributes.st_mode)) {
    words += " " + std::to_string(major(attributes.st_rdev)) + "," +
             std::to_string(minor(attributes.st_rdev));
  }
  return words;
}

std::string digest(std::string_view bytes) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%016llx",
                static_cast<unsigned long long>(XXH64(bytes.data(), bytes.size(), 0)));
  return text.data();
}

OpResult failed(int error) { return OpResult{-1, error, {}, {}}; }

OpResult from_call(long result) { return result < 0 ? failed(errno) : OpResult{result, 0, {}, {}}; }

OpResult list_directory(int descriptor) {
  ::lseek(descriptor, 0, SEEK_SET);
  DIR* directory = ::fdopendir(descriptor);
  if (directory == nullptr) {
    const int error = errno;
    ::close(descriptor);
    return failed(error);
  }
  std::vector<std::string> entries;
  errno = 0;
  while (const dirent* entry = ::readdir(directory)) {
    entries.push_back(shell_word(static_cast<const char*>(entry->d_name)) +
                      entry_letter(entry->d_type));
    errno = 0;
  }
  const int error = errno;
  ::closedir(directory);
  if (error != 0) return failed(error);
  std::sort(entries.begin(), entries.end());
  OpResult result{static_cast<long>(entries.size()), 0, {}, {}};
  for (const std::string& entry : entries) result.data += entry + " ";
  return result;
}

OpResult execute(const Operation& op, Side& side) {
  if (const int error = side.enter(op.at); error != 0) return failed(error);
  if (op.kind == OpKind::kUmask) ::umask(op.mode);
  if (op.kind >= OpKind::kUmask) return {};
  const ActorScope scope{actor_of(op)};
  if (uses_slot(op.kind)) return execute_slot(op, side);
  return is_attribute_kind(op.kind) ? execute_attribute(op, side) : execute_path(op, side);
}

}  // namespace plyfs::difftest
