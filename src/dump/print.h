// The model as text for people and as JSON for programs (docs/dump-json.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "dump/place.h"

namespace plyfs::dump {

using Json = nlohmann::ordered_json;

/// Version of every JSON print; raised when a field changes its meaning or goes away.
inline constexpr int kSchemaVersion = 1;

struct PrintStyle {
  bool exact_bytes = false;  ///< --bytes: sizes as numbers
  bool colour = false;
  bool digests = false;
};

enum class Colour : std::uint8_t { kPlain, kDim, kGreen, kRed, kYellow, kBold };
std::string coloured(const PrintStyle& style, Colour colour, std::string_view text);

/// Rows of cells, columns as wide as their widest cell; the last column is not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> row, Colour colour = Colour::kPlain);
  [[nodiscard]] std::string text(const PrintStyle& style, std::string_view indent = "") const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<Colour> colours_{Colour::kDim};
};

const char* state_word(State state);
const char* family_word(WhiteoutFamily family);
/// "hidden by the whiteout (char device 0:0) of layer 1 at etc/motd"; "" when nothing hides it.
std::string reason_text(const Reason& reason);
/// What is remarkable of a version beside its state: marks, redirect, metadata only.
std::string marks_text(const Version& version);
std::string size_text(const PrintStyle& style, std::uint64_t bytes);
/// "1 file", "2 files".
std::string quantity(std::uint64_t number, const std::string& thing);
/// "2 of them, the first in layer 1 at /closed: Permission denied".
std::string unreadable_text(const Unreadable& unreadable);

/// {"plyfs": "which", "schema": 1, "layers": [...]}: the start of every print.
Json header(const OpenStack& stack, const char* kind);
Json version_json(const OpenStack& stack, const Version& version, const PrintStyle& style);
Json answer_json(const OpenStack& stack, const Answer& answer, const PrintStyle& style);

/// The layers, top first, one line each.
std::string layers_legend(const OpenStack& stack, const PrintStyle& style);
/// One path with all its versions.
std::string answer_text(const OpenStack& stack, const Answer& answer, const PrintStyle& style);

}  // namespace plyfs::dump
