#include "dump/compare.h"

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "base/text.h"

namespace plyfs::dump {
namespace {

/// By path: one line for each version.
using Snapshot = std::map<std::string, std::vector<std::string>>;

constexpr const char* kFirstLine = "plyfs-dump snapshot ";

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
    snapshot[line.substr(0, tab)].push_back(line.substr(tab + 1));
  }
  return snapshot;
}

std::optional<Snapshot> read_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("plyfs", "") != "snapshot" ||
      json.value("schema", 0) != kSchemaVersion || !json.contains("entries")) {
    return std::nullopt;
  }
  Snapshot snapshot;
  for (const Json& entry : json["entries"]) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string()) {
      return std::nullopt;
    }
    std::vector<std::string>& lines =
        snapshot[escaped(unescaped(entry["path"].get<std::string>()))];
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
  std::ifstream in{path, std::ios::binary};
  std::string first;
  errno = 0;
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
    text += coloured(style, colour, std::string{sign} + escaped(line)) + '\n';
  }
}

/// escaped() would show the tabs between fields; they become double spaces.
std::vector<std::string> readable(const std::vector<std::string>& lines) {
  std::vector<std::string> shown;
  for (const std::string& line : lines) {
    std::string one;
    for (const char byte : line) {
      one += byte == '\t' ? std::string{"  "} : std::string{byte};
    }
    // Fields are escaped already; a second time would double the backslashes.
    shown.push_back(unescaped(one) == one ? one : one);
  }
  return shown;
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
    append(text, style, Colour::kRed, "  - ", readable(was));
    append(text, style, Colour::kGreen, "  + ", readable(is));
  }
  return text;
}

}  // namespace plyfs::dump
