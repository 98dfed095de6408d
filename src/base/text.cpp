#include "base/text.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/file_stat.h"

namespace plyfs {
namespace {

struct Character {
  std::size_t size = 0;  ///< 0: not UTF-8
  std::uint32_t code = 0;
};

bool is_continuation(std::string_view bytes, std::size_t at) {
  return at < bytes.size() && (static_cast<unsigned char>(bytes[at]) & 0xc0U) == 0x80U;
}

/// The UTF-8 character at `at`; overlong forms, surrogates and what is above U+10FFFF are none.
Character decode(std::string_view bytes, std::size_t at) {
  const auto lead = static_cast<unsigned char>(bytes[at]);
  if (lead < 0x80) {
    return {1, lead};
  }
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4) {
    return {};
  }
  std::uint32_t code = lead & (0xffU >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if (!is_continuation(bytes, at + i)) {
      return {};
    }
    code = code << 6 | (static_cast<unsigned char>(bytes[at + i]) & 0x3fU);
  }
  constexpr std::array<std::uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
    return {};
  }
  return {size, code};
}

/// Control characters of ASCII and Latin-1, line and paragraph separators, and what changes the
/// direction of text or takes no room.
bool is_hostile(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == '\\' ||
         (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2060 && code <= 0x206f) || code == 0xfeff || code == 0x061c;
}

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') {
    return digit - '0';
  }
  return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

}  // namespace

std::string escaped(std::string_view bytes, Backslash backslash) {
  std::string shown;
  shown.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const Character character = decode(bytes, at);
    const std::size_t size = character.size == 0 ? 1 : character.size;
    const bool kept = backslash == Backslash::kKeep && character.code == '\\';
    if (character.size != 0 && (kept || !is_hostile(character.code))) {
      shown.append(bytes.substr(at, size));
    } else {
      for (const char byte : bytes.substr(at, size)) {
        char text[5];
        (void)std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(byte));
        shown += text;
      }
    }
    at += size;
  }
  return shown;
}

std::string harmless_json(std::string_view json) {
  std::string shown;
  shown.reserve(json.size());
  for (std::size_t at = 0; at < json.size();) {
    const Character character = decode(json, at);
    const std::size_t size = std::max<std::size_t>(character.size, 1);
    const bool plain = character.code == '\\' || character.code == '\n' || character.size == 0;
    if (plain || !is_hostile(character.code)) {
      shown.append(json.substr(at, size));
    } else {
      char text[8];
      (void)std::snprintf(text, sizeof text, "\\u%04x", character.code & 0xffffU);
      shown += text;
    }
    at += size;
  }
  return shown;
}

bool is_utf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t size = decode(bytes, at).size;
    if (size == 0) {
      return false;
    }
    at += size;
  }
  return true;
}

std::string unescaped(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && at + 3 < text.size() && text[at + 1] == 'x') {
      const int high = hex_value(text[at + 2]);
      const int low = hex_value(text[at + 3]);
      if (high >= 0 && low >= 0) {
        bytes.push_back(static_cast<char>(high * 16 + low));
        at += 3;
        continue;
      }
    }
    bytes.push_back(text[at]);
  }
  return bytes;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) {
    return std::to_string(bytes) + " B";
  }
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  (void)std::snprintf(text, sizeof text, value < 99.95 ? "%.1f %s" : "%.0f %s", value,
                      kUnits[unit]);
  return text;
}

std::string iso_time(const timespec& time) {
  std::tm parts{};
  char text[64];
  if (gmtime_r(&time.tv_sec, &parts) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
    return std::to_string(time.tv_sec) + "s";
  }
  std::string shown = text;
  if (time.tv_nsec != 0) {
    (void)std::snprintf(text, sizeof text, ".%09ld", static_cast<long>(time.tv_nsec));
    shown += text;
  }
  return shown + 'Z';
}

const char* type_word(mode_t mode) {
  switch (mode & kTypeMask) {
    case kTypeRegular:
      return "file";
    case kTypeDirectory:
      return "directory";
    case kTypeSymlink:
      return "symlink";
    case kTypeFifo:
      return "fifo";
    case kTypeSocket:
      return "socket";
    case kTypeChar:
      return "char device";
    case kTypeBlock:
      return "block device";
    default:
      return "unknown";
  }
}

std::string octal_mode(mode_t mode) {
  char text[16];
  (void)std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & kPermissionMask));
  return text;
}

}  // namespace plyfs
