// The command lines of `run`, `exec` and their kin.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>

#include "plyfs/mount.h"
#include "run/options.h"
#include "sys/sandbox/program.h"

namespace plyfs::run {

using Arguments = std::span<const char* const>;

/// Nothing to run: what to print, and with which exit code.
struct Settled {
  int exit_code = 0;
  std::string output;   ///< for stdout
  std::string failure;  ///< for stderr
};

/// As docker run: everything that plyfs itself has to say ends with this.
inline constexpr int kExitRun = sys::sandbox::kSetupFailed;

/// `arguments` follow the command's name.
std::variant<RunOptions, Settled> parse_run(Arguments arguments);
std::variant<ExecOptions, Settled> parse_exec(Arguments arguments);

}  // namespace plyfs::run
