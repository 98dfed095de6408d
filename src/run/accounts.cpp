#include "run/accounts.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

#include "sys/sandbox/root_files.h"

namespace plyfs::run {
namespace {

using Fields = std::vector<std::string>;

/// The lines of a file such as passwd(5), split; those with fewer fields are left out.
std::vector<Fields> table(const char* path, std::size_t least) {
  std::vector<Fields> rows;
  const auto text = sys::sandbox::read_small_file(path);
  std::istringstream lines{text ? *text : std::string{}};
  for (std::string line; std::getline(lines, line);) {
    Fields fields;
    std::size_t at = 0;
    for (std::size_t colon = 0; (colon = line.find(':', at)) != std::string::npos; at = colon + 1) {
      fields.push_back(line.substr(at, colon - at));
    }
    fields.push_back(line.substr(at));
    if (fields.size() >= least) {
      rows.push_back(std::move(fields));
    }
  }
  return rows;
}

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  // The last one means "unchanged" to the kernel.
  return whole && value != UINT32_MAX ? std::optional{value} : std::nullopt;
}

bool lists(const std::string& members, const std::string& name) {
  std::istringstream words{members};
  for (std::string word; std::getline(words, word, ',');) {
    if (word == name) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<User> find_user(const std::string& wanted) {
  const std::size_t colon = wanted.find(':');
  const std::string name = colon == 0 || wanted.empty() ? "0" : wanted.substr(0, colon);
  const std::string group = colon == std::string::npos ? "" : wanted.substr(colon + 1);
  User user;
  const auto uid = number(name);
  const auto groups = table("/etc/group", 4);
  bool found = false;
  for (const Fields& fields : table("/etc/passwd", 7)) {
    const auto id = number(fields[2]);
    const auto primary = number(fields[3]);
    if (!id || !primary || (uid ? *uid != *id : fields[0] != name)) {
      continue;
    }
    user.account.uid = *id;
    user.account.gid = *primary;
    user.name = fields[0];
    user.home = fields[5].starts_with('/') ? fields[5] : "/";
    user.shell = fields[6];
    found = true;
    break;
  }
  if (!found && !uid) {
    return Errno{ENOENT};
  }
  if (!found) {
    user.account.uid = *uid;
    user.home = *uid == 0 ? "/root" : "/";
  }
  if (!group.empty()) {
    const auto gid = number(group);
    const auto row =
        std::ranges::find_if(groups, [&](const Fields& fields) { return fields[0] == group; });
    const auto named = row != groups.end() ? number((*row)[2]) : gid;
    if (!named) {
      return Errno{ENOENT};
    }
    user.account.gid = *named;
    return user;  // as docker: who names a group gets that one
  }
  for (const Fields& fields : groups) {
    const auto id = number(fields[2]);
    if (id && !user.name.empty() && lists(fields[3], user.name)) {
      user.account.groups.push_back(*id);
    }
  }
  return user;
}

}  // namespace plyfs::run
