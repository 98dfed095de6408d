#include "oci/reference.h"

#include <algorithm>

namespace plyfs::oci {
namespace {

constexpr std::string_view kAlgorithm = "sha256:";
constexpr std::size_t kHexDigits = 64;
constexpr std::size_t kMostTag = 128;
constexpr std::size_t kMostFileName = 250;  // NAME_MAX, with room for ".json"
constexpr std::string_view kSlash = "%2F";

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_word(std::string_view word, std::string_view more) {
  return !word.empty() && std::ranges::all_of(word, [&](char c) {
    return is_alphanumeric(c) || more.find(c) != std::string_view::npos;
  });
}

bool is_component(std::string_view word) {
  return is_word(word, "._-") && is_alphanumeric(word.front());
}

bool is_name(std::string_view name) {
  const std::size_t first_end = std::min(name.find('/'), name.size());
  bool first = true;
  while (true) {
    const std::size_t slash = std::min(name.find('/'), name.size());
    std::string_view word = name.substr(0, slash);
    const std::size_t colon = word.find(':');
    if (first && first_end < name.size() && colon != std::string_view::npos) {
      if (!is_word(word.substr(colon + 1), "")) {
        return false;
      }
      word = word.substr(0, colon);
    }
    if (!is_component(word)) {
      return false;
    }
    if (slash == name.size()) {
      return true;
    }
    name.remove_prefix(slash + 1);
    first = false;
  }
}

}  // namespace

std::optional<Reference> parse_reference(std::string_view text) {
  Reference reference;
  const std::size_t slash = text.rfind('/');
  const std::size_t colon = text.rfind(':');
  const bool tagged =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  reference.name = text.substr(0, tagged ? colon : text.size());
  reference.tag = tagged ? text.substr(colon + 1) : std::string_view{"latest"};
  const bool good = is_name(reference.name) && is_word(reference.tag, "_.-") &&
                    reference.tag.front() != '.' && reference.tag.front() != '-' &&
                    reference.tag.size() <= kMostTag;
  if (!good || file_name_of(reference).size() > kMostFileName) {
    return std::nullopt;
  }
  return reference;
}

bool is_meant(const Reference& reference, const Reference& asked) {
  return reference.tag == asked.tag &&
         (reference.name == asked.name || reference.name.ends_with("/" + asked.name));
}

std::string file_name_of(const Reference& reference) {
  std::string file;
  for (const char c : reference.text()) {
    c == '/' ? file += kSlash : file += c;
  }
  return file;
}

std::optional<Reference> reference_of_file(std::string_view file_name) {
  std::string text;
  while (!file_name.empty()) {
    const bool slash = file_name.starts_with(kSlash);
    text += slash ? '/' : file_name.front();
    file_name.remove_prefix(slash ? kSlash.size() : 1);
  }
  return parse_reference(text);
}

bool is_digest(std::string_view text) {
  return text.starts_with(kAlgorithm) && text.size() == kAlgorithm.size() + kHexDigits &&
         std::ranges::all_of(text.substr(kAlgorithm.size()), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string hex_of(std::string_view digest) {
  return std::string{digest.substr(kAlgorithm.size())};
}

}  // namespace plyfs::oci
