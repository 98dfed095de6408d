#include "operations.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>  // RENAME_*
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <utility>
#include <vector>

namespace plyfs::difftest {
namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(OpKind::kCount)> kNames = {
    "open",      "truncate",        "cat",        "write-file",  "unlink",
    "rmdir",     "mkdir",           "rename",     "link",        "symlink",
    "readlink",  "mknod",           "chmod",      "chown",       "utimens",
    "setxattr",  "getxattr",        "listxattr",  "removexattr", "ls",
    "stat",      "access",          "statfs",     "close",       "read",
    "pread",     "write",           "pwrite",     "lseek",       "ftruncate",
    "fstat",     "fchmod",          "fchown",     "futimens",    "fsync",
    "fallocate", "copy_file_range", "mmap-write", "link-fd",     "ls-fd",
    "flock",     "fsetxattr",       "fgetxattr",  "umask",       "compare",
    "remount",   "drop-caches"};

using FlagNames = std::vector<std::pair<int, std::string_view>>;

std::string flag_words(int flags, const FlagNames& names) {
  std::string words;
  for (const auto& [bits, name] : names) {
    if ((flags & bits) != bits) continue;
    words += words.empty() ? "" : "|";
    words += name;
    flags &= ~bits;
  }
  if (flags != 0) words += (words.empty() ? "" : "|") + std::to_string(flags);
  return words.empty() ? "0" : words;
}

std::string open_words(int flags) {
  static const FlagNames kAccess = {{O_RDWR, "O_RDWR"}, {O_WRONLY, "O_WRONLY"}};
  static const FlagNames kRest = {
      {O_TMPFILE, "O_TMPFILE"},   {O_DIRECTORY, "O_DIRECTORY"}, {O_CREAT, "O_CREAT"},
      {O_EXCL, "O_EXCL"},         {O_TRUNC, "O_TRUNC"},         {O_APPEND, "O_APPEND"},
      {O_NOFOLLOW, "O_NOFOLLOW"}, {O_NOATIME, "O_NOATIME"},     {O_PATH, "O_PATH"},
      {O_DIRECT, "O_DIRECT"},     {O_SYNC, "O_SYNC"},           {O_NONBLOCK, "O_NONBLOCK"}};
  const int access = flags & O_ACCMODE;
  const std::string first = access == O_RDONLY ? "O_RDONLY" : flag_words(access, kAccess);
  const int rest = flags & ~O_ACCMODE & ~O_NONBLOCK;
  return rest == 0 ? first : first + "|" + flag_words(rest, kRest);
}

std::string number(const char* format, long long value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string octal(mode_t mode) { return number("%04llo", static_cast<long long>(mode)); }

std::string id_word(unsigned id) { return id == ~0U ? "-1" : std::to_string(id); }

std::string time_words(const Operation& op) {
  std::string words;
  for (const timespec& time : op.times) {
    if (time.tv_nsec == UTIME_NOW) {
      words += " now";
    } else if (time.tv_nsec == UTIME_OMIT) {
      words += " omit";
    } else {
      words += " " + std::to_string(time.tv_sec) + number(".%09lld", time.tv_nsec);
    }
  }
  return words;
}

std::string data_words(const Operation& op) {
  return " length=" + std::to_string(op.length) + " data=" + std::to_string(op.data_seed);
}

std::string xattr_words(const Operation& op) {
  static const FlagNames kFlags = {{XATTR_CREATE, "CREATE"}, {XATTR_REPLACE, "REPLACE"}};
  return " " + shell_word(op.xattr) + " " + shell_word(op.value) +
         (op.flags == 0 ? "" : " " + flag_words(op.flags, kFlags));
}

std::string rename_words(int flags) {
  static const FlagNames kFlags = {{RENAME_NOREPLACE, "NOREPLACE"},
                                   {RENAME_EXCHANGE, "EXCHANGE"},
                                   {RENAME_WHITEOUT, "WHITEOUT"}};
  return flags == 0 ? "" : " " + flag_words(flags, kFlags);
}

std::string device_words(const Operation& op) {
  switch (op.mode & S_IFMT) {
    case S_IFIFO:
      return " fifo";
    case S_IFSOCK:
      return " socket";
    case S_IFREG:
      return " file";
    default:
      return std::string{S_ISCHR(op.mode) ? " c " : " b "} + std::to_string(major(op.device)) +
             " " + std::to_string(minor(op.device));
  }
}

std::string path_details(const Operation& op) {
  switch (op.kind) {
    case OpKind::kOpen:
      return " " + open_words(op.flags) + " mode=" + octal(op.mode);
    case OpKind::kTruncate:
      return " size=" + std::to_string(op.offset);
    case OpKind::kWriteFile:
      return (op.flags != 0 ? " append" : " offset=" + std::to_string(op.offset)) + data_words(op);
    case OpKind::kMkdir:
    case OpKind::kChmod:
      return " mode=" + octal(op.mode);
    case OpKind::kRename:
      return " " + shell_word(op.other) + rename_words(op.flags);
    case OpKind::kLink:
      return " " + shell_word(op.other) + (op.flags != 0 ? " follow" : "");
    case OpKind::kSymlink:
      return " -> " + shell_word(op.other);
    case OpKind::kMknod:
      return device_words(op) + " mode=" + octal(op.mode & 07777U);
    case OpKind::kChown:
      return " " + id_word(op.uid) + ":" + id_word(op.gid);
    case OpKind::kUtimens:
      return time_words(op);
    case OpKind::kSetxattr:
      return xattr_words(op);
    case OpKind::kGetxattr:
      return " " + shell_word(op.xattr) + " buffer=" + std::to_string(op.length);
    case OpKind::kRemovexattr:
      return " " + shell_word(op.xattr);
    case OpKind::kAccess:
      return " " + std::to_string(op.flags);
    default:
      return "";
  }
}

std::string slot_details(const Operation& op) {
  static const FlagNames kFallocate = {{FALLOC_FL_KEEP_SIZE, "KEEP_SIZE"},
                                       {FALLOC_FL_PUNCH_HOLE, "PUNCH_HOLE"},
                                       {FALLOC_FL_ZERO_RANGE, "ZERO_RANGE"}};
  static const FlagNames kFlock = {{LOCK_SH, "SH"}, {LOCK_EX, "EX"}, {LOCK_UN, "UN"}};
  switch (op.kind) {
    case OpKind::kRead:
      return " length=" + std::to_string(op.length);
    case OpKind::kPread:
      return " offset=" + std::to_string(op.offset) + " length=" + std::to_string(op.length);
    case OpKind::kWrite:
      return data_words(op);
    case OpKind::kPwrite:
    case OpKind::kMapWrite:
      return " offset=" + std::to_string(op.offset) + data_words(op);
    case OpKind::kSeek:
      return " offset=" + std::to_string(op.offset) + " whence=" + std::to_string(op.flags);
    case OpKind::kFtruncate:
      return " size=" + std::to_string(op.offset);
    case OpKind::kFchmod:
      return " mode=" + octal(op.mode);
    case OpKind::kFchown:
      return " " + id_word(op.uid) + ":" + id_word(op.gid);
    case OpKind::kFutimens:
      return time_words(op);
    case OpKind::kFallocate:
      return " " + flag_words(op.flags, kFallocate) + " offset=" + std::to_string(op.offset) +
             " length=" + std::to_string(op.length);
    case OpKind::kCopyRange:
      return " offset=" + std::to_string(op.offset) + " -> fd" + std::to_string(op.other_slot) +
             " offset=" + std::to_string(op.other_offset) + " length=" + std::to_string(op.length);
    case OpKind::kLinkFd:
      return " -> " + shell_word(op.path);
    case OpKind::kFlock:
      return " " + flag_words(op.flags & ~LOCK_NB, kFlock);
    case OpKind::kFsetxattr:
      return xattr_words(op);
    case OpKind::kFgetxattr:
      return " " + shell_word(op.xattr) + " buffer=" + std::to_string(op.length);
    default:
      return "";
  }
}

}  // namespace

std::string_view name_of(OpKind kind) { return kNames[static_cast<std::size_t>(kind)]; }

bool uses_slot(OpKind kind) { return kind >= OpKind::kClose && kind <= OpKind::kFgetxattr; }

std::string shell_word(std::string_view bytes) {
  constexpr std::size_t kLongest = 60;
  std::string text = "'";
  for (const char c : bytes.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte >= ' ' && byte < 0x7F && c != '\'' ? std::string(1, c) : number("\\x%02llx", byte);
  }
  text += "'";
  if (bytes.size() > kLongest) text += "...(" + std::to_string(bytes.size()) + " bytes)";
  return text;
}

std::string describe(const Operation& op) {
  std::string line = op.actor == Actor::kOrdinary ? "as_user " : "";
  line += name_of(op.kind);
  if (op.kind == OpKind::kUmask) return line + " " + octal(op.mode);
  if (op.kind > OpKind::kUmask) return line;
  if (uses_slot(op.kind)) return line + " fd" + std::to_string(op.slot) + slot_details(op);
  if (op.kind == OpKind::kOpen) line = "fd" + std::to_string(op.slot) + "=" + line;
  line += " " + shell_word(op.path) + path_details(op);
  if (op.at >= 0) line += "   # relative to fd" + std::to_string(op.at);
  return line;
}

}  // namespace plyfs::difftest
