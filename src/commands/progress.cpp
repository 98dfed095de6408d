#include "commands/progress.h"

#include <cstdio>
#include <utility>

#include "base/text.h"
#include "sys/terminal.h"

namespace plyfs::commands {
namespace {

// One line of a terminal, drawn over again. What does not fit is cut off by the terminal: wrapped,
// the first row would stay.
constexpr const char* kBeginLine = "\r\x1b[K\x1b[?7l";
constexpr const char* kEndLine = "\x1b[?7h";

}  // namespace

ProgressMode progress_mode(const std::string& word) {
  if (word == "plain") {
    return ProgressMode::kPlain;
  }
  return word == "none" ? ProgressMode::kNone : ProgressMode::kAuto;
}

ProgressLine::ProgressLine(ProgressMode mode, std::string what)
    : redraw_(mode == ProgressMode::kAuto && sys::is_terminal(sys::BorrowedFd{2})),
      plain_(mode == ProgressMode::kPlain),
      what_(std::move(what)) {}

ProgressLine::~ProgressLine() {
  if (drawn_ && redraw_) {
    (void)std::fputs("\r\x1b[K", stderr);
  }
}

bool ProgressLine::is_time() {
  constexpr auto kRedraw = std::chrono::milliseconds{200};
  constexpr auto kPlainEvery = std::chrono::milliseconds{5000};
  if (!redraw_ && !plain_) {
    return false;
  }
  const auto now = Clock::now();
  if (now - shown_ < (redraw_ ? kRedraw : kPlainEvery)) {
    return false;
  }
  shown_ = now;
  drawn_ = true;
  return true;
}

void ProgressLine::show(std::uint64_t entries, std::uint64_t bytes) {
  if (!is_time()) {
    return;
  }
  const double seconds = std::chrono::duration<double>(shown_ - began_).count();
  const auto rate = static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds);
  (void)std::fprintf(stderr, "%s%s: %llu entries, %s, %s/s%s", redraw_ ? kBeginLine : "",
                     what_.c_str(), static_cast<unsigned long long>(entries),
                     human_bytes(bytes).c_str(), human_bytes(rate).c_str(),
                     redraw_ ? kEndLine : "\n");
}

void ProgressLine::show_part(std::uint64_t done_bytes, std::uint64_t total_bytes) {
  if (!is_time() || done_bytes == 0) {
    return;
  }
  constexpr std::size_t kWidth = 24;
  const double part = static_cast<double>(done_bytes) / static_cast<double>(total_bytes);
  const double seconds = std::chrono::duration<double>(shown_ - began_).count();
  const auto filled = static_cast<std::size_t>(part * static_cast<double>(kWidth));
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  // A guess from less than this is none.
  constexpr double kEnoughToGuess = 0.02;
  char left[32] = "";
  if (part >= kEnoughToGuess) {
    (void)std::snprintf(left, sizeof left, ", %.0f s left", seconds / part - seconds);
  }
  (void)std::fprintf(stderr, "%s%s: [%s] %.0f %%, %s of %s%s%s", redraw_ ? kBeginLine : "",
                     what_.c_str(), bar.c_str(), part * 100, human_bytes(done_bytes).c_str(),
                     human_bytes(total_bytes).c_str(), left, redraw_ ? kEndLine : "\n");
}

}  // namespace plyfs::commands
