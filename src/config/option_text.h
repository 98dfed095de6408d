// The text of an option string: splitting, quotes, escapes, numbers. Pure; any bytes are accepted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plyfs/options.h"

namespace plyfs::config {

/// Splits at commas. A comma does not separate after a backslash, nor between double quotes that
/// open at the start of a value or of a `:` part and are closed later. Quotes are removed, escapes
/// kept; empty words are dropped.
std::vector<std::string> split_words(std::string_view text);

/// Splits at colons that no backslash precedes. Escapes and empty parts are kept.
std::vector<std::string_view> split_at_colons(std::string_view value);

/// `\ooo` (three octal digits up to 377) is that byte, a backslash before any other byte stands for
/// the byte, a backslash at the end for itself.
std::string unescape(std::string_view text);

/// A decimal number and nothing else.
std::optional<std::uint32_t> parse_number(std::string_view text);

/// Seconds: finite and not negative; capped at 10^9.
std::optional<double> parse_seconds(std::string_view text);

/// on/off, 1/0, yes/no, true/false.
std::optional<Toggle> parse_toggle(std::string_view text);

/// `[:]DISK:SHOWN:COUNT[:DISK:SHOWN:COUNT...]`; empty text is an empty map.
std::optional<std::vector<IdMapping>> parse_id_mappings(std::string_view text);

}  // namespace plyfs::config
