#include "dump/compare.h"

#include <fstream>
#include <iterator>
#include <map>
#include <string_view>

#include "base/text.h"

namespace plyfs::dump {
namespace {

/// By path: one line for each version.
using Snapshot = std::map<std::string, std::vector<std::string>>;

constexpr const char* kFirstLine = "plyfs-dump snapshot ";

/// A file that says it is a snapshot may hold any bytes: what is escaped stays as it is, what is
/// not becomes so.
std::string printable(std::string_view field) { return escaped(unescaped(field)); }

/// Fields are separated by tabs; shown, by two spaces.
std::string printable_fields(std::string_view fields) {
  std::string text;
  for (std::size_t tab = 0; tab != std::string_view::npos;) {
    tab = fields.find('\t');
    text += printable(fields.substr(0, tab));
    text += tab == std::string_view::npos ? "" : "  ";
    fields.remove_prefix(tab == std::string_view::npos ? fields.size() : tab + 1);
  }
  return text;
}

std::optional<Snapshot> read_text(std::istream& in) {
  Snapshot snapshot;
  for (std::string line; std::getline(in, line);) {
    const std::size_t tab = line.find('\t');
    if (line.starts_with("layer\t")) {
      continue;
    }
    if (!line.starts_with('/') || tab == std::string::npos) {
      return std::nullopt;
    }
    snapshot[printable(std::string_view{line}.substr(0, tab))].push_back(
        printable_fields(std::string_view{line}.substr(tab + 1)));
  }
  return snapshot;
}

std::optional<Snapshot> read_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  const auto is = [&](const char* member, const Json& wanted) {
    return json.contains(member) && json[member] == wanted;
  };
  if (!json.is_object() || !is("plyfs", "snapshot") || !is("schema", kSchemaVersion) ||
      !json.contains("entries") || !json["entries"].is_array()) {
    return std::nullopt;
  }
  Snapshot snapshot;
  for (const Json& entry : json["entries"]) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string()) {
      return std::nullopt;
    }
    std::vector<std::string>& lines = snapshot[printable(entry["path"].get<std::string>())];
    for (const Json& version : entry.value("versions", Json::array())) {
      lines.push_back(version.dump(-1, ' ', true));
    }
    if (entry.contains("error")) {
      lines.push_back("error: " + entry["error"].dump(-1, ' ', true));
    }
  }
  return snapshot;
}

std::optional<Snapshot> read_snapshot(const std::string& path, Failure& failure) {
  errno = 0;
  std::ifstream in{path, std::ios::binary};
  std::string first;
  if (!in || !std::getline(in, first)) {
    failure = {"cannot read snapshot: " + escaped(path) + ": " +
                   Errno{errno == 0 ? ENODATA : errno}.message() +
                   "; name a file written by plyfs-dump STACK snapshot",
               2};
    return std::nullopt;
  }
  std::optional<Snapshot> snapshot;
  if (first == kFirstLine + std::to_string(kSchemaVersion)) {
    snapshot = read_text(in);
  } else if (first.starts_with('{')) {
    std::string rest{std::istreambuf_iterator<char>{in}, {}};
    snapshot = read_json(first + '\n' + rest);
  }
  if (!snapshot) {
    failure = {"not a snapshot: " + escaped(path) + ": " + Errno{EINVAL}.message() +
                   "; name a file written by plyfs-dump STACK snapshot",
               2};
  }
  return snapshot;
}

void append(std::string& text, const PrintStyle& style, Colour colour, const char* sign,
            const std::vector<std::string>& lines) {
  for (const std::string& line : lines) {
    text += coloured(style, colour, sign + line) + '\n';
  }
}

}  // namespace

std::optional<std::string> compare_snapshots(const std::string& before, const std::string& after,
                                             const PrintStyle& style, Failure& failure) {
  auto old = read_snapshot(before, failure);
  auto now = old ? read_snapshot(after, failure) : std::nullopt;
  if (!now) {
    return std::nullopt;
  }
  std::map<std::string, int> paths;
  for (const auto& [path, lines] : *old) {
    paths[path] |= 1;
  }
  for (const auto& [path, lines] : *now) {
    paths[path] |= 2;
  }
  std::string text;
  for (const auto& [path, sides] : paths) {
    const std::vector<std::string> was =
        (sides & 1) != 0 ? (*old)[path] : std::vector<std::string>{};
    const std::vector<std::string> is =
        (sides & 2) != 0 ? (*now)[path] : std::vector<std::string>{};
    if (sides == 3 && was == is) {
      continue;
    }
    const char* const letter = sides == 1 ? "D " : sides == 2 ? "A " : "C ";
    text += coloured(style, Colour::kBold, letter + path) + '\n';
    append(text, style, Colour::kRed, "  - ", was);
    append(text, style, Colour::kGreen, "  + ", is);
  }
  return text;
}

}  // namespace plyfs::dump
