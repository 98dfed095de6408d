// A line on stderr that tells how far a long copy is.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace plyfs::commands {

enum class ProgressMode : std::uint8_t { kAuto, kPlain, kNone };

/// nullopt-like: kAuto for unknown words is not possible, the parser checks them.
ProgressMode progress_mode(const std::string& word);

/// On a terminal one line that is drawn again five times a second; with kPlain a line every five
/// seconds; otherwise nothing. Its destructor clears what it drew.
class ProgressLine {
 public:
  ProgressLine(ProgressMode mode, std::string what);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  /// Whether there is somebody to show anything to.
  [[nodiscard]] bool wanted() const { return redraw_ || plain_; }
  void show(std::uint64_t entries, std::uint64_t bytes);
  /// Where the end is known: percent, and how long it will take.
  void show_part(std::uint64_t done_bytes, std::uint64_t total_bytes);

 private:
  [[nodiscard]] bool is_time();
  using Clock = std::chrono::steady_clock;
  const bool redraw_;
  const bool plain_;
  const std::string what_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point shown_ = began_;
  bool drawn_ = false;
};

}  // namespace plyfs::commands
