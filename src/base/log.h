// The daemon's log. The only user of spdlog.
#pragma once

#include <string>
#include <string_view>

namespace plyfs::log {

enum class Level : unsigned char { kTrace, kDebug, kInfo, kWarning, kError };

/// Opens the log on stderr (foreground) or nowhere (background: 0/1/2 are /dev/null). Call once,
/// before threads. Errors are also what `-d` shows.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);
/// Never throws. Bytes that are not printable are escaped by the caller's `printable`.
void write(Level level, std::string_view message) noexcept;
/// Names come from untrusted layers: control characters are shown as \xNN.
std::string printable(std::string_view bytes);

}  // namespace plyfs::log
