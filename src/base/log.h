// The daemon's log. The only user of spdlog.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace plyfs::log {

enum class Level : unsigned char { kTrace, kDebug, kInfo, kWarning, kError };

/// Opens the log on stderr (foreground) or nowhere (background: 0/1/2 are /dev/null). Call once,
/// before threads. Errors are also what `-d` shows.
void set_level(Level level);
[[nodiscard]] bool enabled(Level level);
/// Never throws. Bytes that are not printable are escaped by the caller's `printable`.
void write(Level level, std::string_view message) noexcept;

/// A warning or an error, kept whether or not the log shows it.
struct Noted {
  std::time_t last = 0;     ///< when it was written, the last time
  unsigned long times = 1;  ///< in a row
  Level level = Level::kWarning;
  std::string message;
};
/// The last ones, oldest first: of a daemon in the background nobody sees stderr. Thread-safe.
std::vector<Noted> noted();

/// Names come from untrusted layers: control characters are shown as \xNN.
std::string printable(std::string_view bytes);

}  // namespace plyfs::log
