// The process that the user started and waits for: his terminal, his signals, the exit code.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "sys/sandbox/link.h"
#include "sys/sandbox/program.h"

namespace plyfs::sys::sandbox {

/// The terminal for a program of the calling process: in front where all three standard
/// descriptors are one terminal and we are in front.
Terminal usual_terminal();

/// Attends to a run until all its processes have ended. Guarded by caller.
class Front {
 public:
  struct Ending {
    int exit_code = 125;
    std::string failure;  ///< plyfs itself failed
  };
  /// `stop_signal`: what SIGTERM becomes.
  Front(Link link, Terminal terminal, std::optional<int> stop_signal);
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;
  /// `warn` is called for what a person should know.
  Ending attend(void (*warn)(const std::string&));

 private:
  void hear(void (*warn)(const std::string&));
  void take_signals();
  void pause_with_program();
  void take_terminal(UniqueFd master);
  void resize();
  void make_raw(bool raw);
  void relay_input();
  /// False at its end.
  bool relay_output();
  void drain_output();

  Link link_;
  const Terminal terminal_;
  const std::optional<int> stop_signal_;
  UniqueFd signals_;
  UniqueFd master_;
  std::string pending_;  ///< typed, and not taken by the terminal yet
  bool input_open_ = true;
  bool started_ = false;
  bool told_ = false;   ///< the ending is known
  bool ended_ = false;  ///< nobody is there any more
  bool raw_ = false;
  alignas(8) unsigned char modes_[64];
  Ending ending_;
};

}  // namespace plyfs::sys::sandbox
