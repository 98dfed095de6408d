// What the processes of one run tell each other.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys::sandbox {

enum class Word : std::uint32_t {
  kEnd,       ///< nobody is there any more
  kFailed,    ///< value: exit code; text: what
  kWarning,   ///< text
  kServing,   ///< the root directory is mounted
  kMoved,     ///< its user has it as its root now
  kReady,     ///< what only its user can make is there
  kStarted,   ///< the command runs; value: its pid there
  kTerminal,  ///< with the descriptor of a terminal's other end
  kStopped,   ///< value: the signal
  kEnded,     ///< value: as waitpid(2) says
  kSignal,    ///< value: to be passed on to the command
  kContinue,  ///< the command goes on
};

struct Message {
  Word word = Word::kEnd;
  std::int32_t value = 0;
  std::string text;
  UniqueFd descriptor;
};

/// One end of a pair of sockets that keeps messages apart. Thread-safe.
class Link {
 public:
  static Result<std::pair<Link, Link>> make();

  /// Nobody there: the message is dropped.
  void say(Word word, std::int32_t value = 0, const std::string& text = {},
           BorrowedFd descriptor = BorrowedFd{}) const;
  /// Waits. kEnd where the others have ended, or sent what nobody understands.
  [[nodiscard]] Message hear() const;
  [[nodiscard]] BorrowedFd borrow() const { return socket_.borrow(); }
  /// Whether the other side has closed, without waiting.
  [[nodiscard]] bool ended() const;
  void close() { socket_.reset(); }

 private:
  UniqueFd socket_;
};

}  // namespace plyfs::sys::sandbox
