#include "sys/mount_table.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

namespace plyfs::sys {
namespace {

bool is_octal(std::string_view digits) {
  return digits.size() == 3 &&
         std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '7'; });
}

// The kernel writes space, tab, newline, backslash and # as \ooo, and every other byte as it is.
std::string decode_octal(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    if (text.front() == '\\' && is_octal(text.substr(1, 3))) {
      bytes.push_back(
          static_cast<char>((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0')));
      text.remove_prefix(4);
    } else {
      bytes.push_back(text.front());
      text.remove_prefix(1);
    }
  }
  return bytes;
}

/// Only a space separates: carriage return, vertical tab and form feed stand in paths as they are.
std::string_view next_word(std::string_view& line) {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

int number(std::string_view word) {
  int value = 0;
  (void)std::from_chars(word.data(), word.data() + word.size(), value);
  return value;
}

// "ID PARENT MAJ:MIN ROOT PATH OPTIONS [TAGS...] - TYPE SOURCE OPTIONS"
std::optional<MountEntry> parse_line(std::string_view line) {
  MountEntry entry;
  entry.id = number(next_word(line));
  entry.parent = number(next_word(line));
  entry.device = next_word(line);
  entry.root = decode_octal(next_word(line));
  entry.path = decode_octal(next_word(line));
  while (!line.empty() && next_word(line) != "-") {
  }
  entry.type = decode_octal(next_word(line));
  entry.source = decode_octal(next_word(line));
  entry.options = line;
  return entry.id != 0 && !entry.path.empty() && !entry.type.empty() ? std::optional{entry}
                                                                     : std::nullopt;
}

Result<MountTable> read_table(const std::string& file) {
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    return Errno{errno != 0 ? errno : ENOENT};
  }
  const std::string text{std::istreambuf_iterator<char>{stream}, {}};
  return parse_mount_table(text);
}

bool lies_below(std::string_view path, std::string_view above) {
  return above == "/"
             ? path.size() > 1
             : path.size() > above.size() && path.starts_with(above) && path[above.size()] == '/';
}

/// How many mounts it lies on.
std::size_t depth_of(const MountTable& table, const MountEntry& entry) {
  std::size_t depth = 0;
  const MountEntry* at = &entry;
  while (at != nullptr && depth < table.size()) {
    const auto above = std::ranges::find(table, at->parent, &MountEntry::id);
    at = above == table.end() ? nullptr : &*above;
    ++depth;
  }
  return depth;
}

}  // namespace

MountTable parse_mount_table(std::string_view text) {
  MountTable table;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (auto entry = parse_line(text.substr(0, end))) {
      table.push_back(*std::move(entry));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return table;
}

Result<MountTable> mount_table() { return read_table("/proc/self/mountinfo"); }

Result<MountTable> mount_table_of(int process) {
  return read_table("/proc/" + std::to_string(process) + "/mountinfo");
}

const MountEntry* mounted_at(const MountTable& table, std::string_view path) {
  for (const MountEntry& entry : table) {
    const bool covered = std::ranges::any_of(table, [&](const MountEntry& other) {
      return other.path == path && other.parent == entry.id;
    });
    if (entry.path == path && !covered) {
      return &entry;
    }
  }
  return nullptr;
}

const MountEntry* lowest_at(const MountTable& table, std::string_view path) {
  for (const MountEntry& entry : table) {
    const bool covers = std::ranges::any_of(table, [&](const MountEntry& other) {
      return other.path == path && other.id == entry.parent;
    });
    if (entry.path == path && !covers) {
      return &entry;
    }
  }
  return nullptr;
}

std::vector<const MountEntry*> mounted_below(const MountTable& table, std::string_view path) {
  std::vector<std::pair<std::size_t, const MountEntry*>> below;
  for (const MountEntry& entry : table) {
    if (lies_below(entry.path, path)) {
      below.emplace_back(depth_of(table, entry), &entry);
    }
  }
  std::ranges::stable_sort(below, {}, &std::pair<std::size_t, const MountEntry*>::first);
  std::vector<const MountEntry*> sorted;
  for (const auto& [depth, entry] : below) {
    sorted.push_back(entry);
  }
  return sorted;
}

std::string device_name_at(const std::string& path) {
  struct statx facts {};
  if (::statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0, &facts) != 0) {
    return {};
  }
  return std::to_string(facts.stx_dev_major) + ":" + std::to_string(facts.stx_dev_minor);
}

Result<std::string> kernel_path(const std::string& path) {
  std::array<char, PATH_MAX> resolved{};
  // A slash at the end would ask the root of the mount what it is: ENOTCONN where its daemon died.
  const std::size_t end = path.find_last_not_of('/');
  const std::string bare = end == std::string::npos ? path : path.substr(0, end + 1);
  if (::realpath(bare.c_str(), resolved.data()) == nullptr) {
    return Errno{errno};
  }
  return std::string{resolved.data()};
}

}  // namespace plyfs::sys
