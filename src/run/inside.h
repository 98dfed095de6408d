// The side of a run that its program lives on.
#pragma once

#include <string>
#include <vector>

#include "run/options.h"
#include "sys/sandbox/link.h"
#include "sys/sandbox/program.h"

namespace plyfs::run {

/// What is the same for `run` and `exec`.
struct ProgramOptions {
  std::vector<std::string> command;      ///< empty: the user's shell
  std::vector<std::string> environment;  ///< without HOME
  std::string directory;                 ///< empty: /
  std::string user;                      ///< empty: root
  sys::sandbox::Terminal terminal = sys::sandbox::Terminal::kShared;
  bool one_id = false;
};

/// In the root directory and the namespaces of the run: starts the program and stays with it.
void run_inside(const ProgramOptions& options, const sys::sandbox::Link& front);

}  // namespace plyfs::run
