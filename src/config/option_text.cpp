#include "config/option_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <utility>

namespace plyfs::config {
namespace {

// As many extents as a user namespace may have (user_namespaces(7)).
constexpr std::size_t kMostMappings = 340;

bool closes_later(std::string_view text, std::size_t after) {
  for (std::size_t i = after; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return true;
    }
  }
  return false;
}

bool is_octal(char c, char highest) { return c >= '0' && c <= highest; }

bool fits(std::uint32_t first, std::uint32_t count) {
  return std::uint64_t{first} + count <= std::uint64_t{UINT32_MAX};
}

}  // namespace

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  bool may_open = false;  // the byte before was an unescaped '=' or ':'
  const auto finish = [&] {
    if (!word.empty()) {
      words.push_back(std::move(word));
    }
    word.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool opens_here = std::exchange(may_open, c == '=' || c == ':');
    if (c == '\\' && i + 1 < text.size()) {
      word.append(text.substr(i++, 2));
    } else if (c == '"' && quoted) {
      quoted = false;
    } else if (c == '"' && opens_here && closes_later(text, i + 1)) {
      quoted = true;
    } else if (c == ',' && !quoted) {
      finish();
    } else {
      word.push_back(c);
    }
  }
  finish();
  return words;
}

std::vector<std::string_view> split_at_colons(std::string_view value) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\\') {
      ++i;
    } else if (value[i] == ':') {
      parts.push_back(value.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  parts.push_back(value.substr(begin));
  return parts;
}

std::string unescape(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      bytes.push_back(text[i]);
      continue;
    }
    const std::string_view rest = text.substr(i + 1, 3);
    if (rest.size() == 3 && is_octal(rest[0], '3') && is_octal(rest[1], '7') &&
        is_octal(rest[2], '7')) {
      const int value = (rest[0] - '0') * 64 + (rest[1] - '0') * 8 + (rest[2] - '0');
      bytes.push_back(static_cast<char>(value));
      i += 3;
    } else {
      bytes.push_back(rest[0]);
      i += 1;
    }
  }
  return bytes;
}

std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) {
    return std::nullopt;
  }
  return number;
}

std::optional<double> parse_seconds(std::string_view text) {
  double seconds = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, seconds);
  if (error != std::errc{} || stop != end || !std::isfinite(seconds) || std::signbit(seconds)) {
    return std::nullopt;
  }
  return std::min(seconds, kForever_s);
}

std::optional<Toggle> parse_toggle(std::string_view text) {
  if (text == "on" || text == "1" || text == "yes" || text == "true") {
    return Toggle::kOn;
  }
  if (text == "off" || text == "0" || text == "no" || text == "false") {
    return Toggle::kOff;
  }
  return std::nullopt;
}

std::optional<std::vector<IdMapping>> parse_id_mappings(std::string_view text) {
  std::vector<IdMapping> mappings;
  if (text.starts_with(':')) {
    text.remove_prefix(1);
  }
  if (text.empty()) {
    return mappings;
  }
  const std::vector<std::string_view> parts = split_at_colons(text);
  if (parts.size() % 3 != 0 || parts.size() / 3 > kMostMappings) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < parts.size(); i += 3) {
    // The callers' words are "container:host:size": layers hold container ids, the mount shows the
    // host's, which the container's user namespace maps back.
    const auto disk = parse_number(parts[i]);
    const auto view = parse_number(parts[i + 1]);
    const auto count = parse_number(parts[i + 2]);
    if (!disk || !view || !count || *count == 0 || !fits(*disk, *count) || !fits(*view, *count)) {
      return std::nullopt;
    }
    mappings.push_back(IdMapping{.inside = *view, .outside = *disk, .count = *count});
  }
  return mappings;
}

}  // namespace plyfs::config
