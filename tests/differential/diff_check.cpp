#include "diff_check.h"

#include <nlohmann/json.hpp>

#include "executor.h"
#include "run_program.h"

namespace plyfs::difftest {
namespace {

bool is_directory(const TreeEntry& entry) { return entry.words.compare(0, 4, "dir ") == 0; }

bool differs(const TreeEntry& before, const TreeEntry& now) {
  if (before.words != now.words || before.xattrs != now.xattrs) return true;
  return !is_directory(now) &&
         (before.content != now.content || before.mtime.tv_sec != now.mtime.tv_sec ||
          before.mtime.tv_nsec != now.mtime.tv_nsec);
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

}  // namespace

Changes docker_changes(const TreeDump& before, const TreeDump& now) {
  Changes changes;
  for (const auto& [path, entry] : now.entries) {
    const auto old = before.entries.find(path);
    if (old == before.entries.end()) {
      changes[path] = 'A';
    } else if (differs(old->second, entry)) {
      changes[path] = 'C';
    }
  }
  for (const auto& [path, entry] : before.entries) {
    const auto parent = now.entries.find(parent_of(path));
    if (now.entries.count(path) == 0 && parent != now.entries.end() &&
        is_directory(parent->second)) {
      changes[path] = 'D';
    }
  }
  Changes above;
  for (const auto& [path, letter] : changes) {
    for (std::string at = parent_of(path); at != "."; at = parent_of(at)) above[at] = 'C';
  }
  changes.insert(above.begin(), above.end());  // keeps what is there
  changes.erase(".");
  return changes;
}

std::optional<Difference> compare_changes(const Changes& expected, const std::string& printed) {
  using Json = nlohmann::json;
  const Json json = Json::parse(printed, nullptr, false);
  if (!json.is_object()) return Difference{"diff/json", "plyfs diff printed no JSON\n"};
  Changes told;
  std::string text;
  const auto complain = [&](const std::string& path, const std::string& what) {
    text += "plyfs diff of " + shell_word(path) + ": " + what + "\n";
  };
  for (const Json& change : json.at("changes")) {
    const std::string path = unescaped(change.at("path").get<std::string>()).substr(1);
    if (!told.emplace(path, change.at("change").get<std::string>().at(0)).second) {
      complain(path, "listed twice");
    }
  }
  for (const auto& [path, letter] : expected) {
    const auto found = told.find(path);
    const char is = found == told.end() ? '-' : found->second;
    if (is != letter) complain(path, std::string{"is "} + is + ", docker's is " + letter);
  }
  for (const auto& [path, letter] : told) {
    if (expected.count(path) == 0) complain(path, std::string{"is "} + letter + ", docker's is -");
  }
  return text.empty() ? std::nullopt : std::optional{Difference{"diff", text}};
}

}  // namespace plyfs::difftest
