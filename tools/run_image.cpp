#include "run_image.h"

#include <cstdio>
#include <utility>
#include <variant>

#include "commands/image_use.h"
#include "config/cli_stack.h"
#include "run/cli.h"
#include "run/commands.h"

namespace plyfs {
namespace {

/// What is given on the command line comes before what the image says; as docker run.
void take_defaults(RunDefaults defaults, run::RunOptions& options) {
  std::vector<std::string> command = std::move(defaults.entrypoint);
  const auto& rest = options.command.empty() ? defaults.command : options.command;
  command.insert(command.end(), rest.begin(), rest.end());
  options.command = std::move(command);
  options.image_environment = std::move(defaults.environment);
  options.stop_signal = defaults.stop_signal;
  if (options.directory.empty()) {
    options.directory = std::move(defaults.directory);
  }
  if (options.user.empty()) {
    options.user = std::move(defaults.user);
  }
}

}  // namespace

std::optional<int> run_with_image(std::span<const char* const> words) {
  if (config::command_of(words) != "run") {
    return std::nullopt;
  }
  auto parsed = run::parse_run(words.subspan(2));
  auto* const options = std::get_if<run::RunOptions>(&parsed);
  if (options == nullptr || options->mount.image.empty()) {
    return std::nullopt;
  }
  sys::UniqueFd held;
  RunDefaults defaults;
  if (const auto failure = commands::use_image(options->mount, held, defaults)) {
    (void)std::fprintf(stderr, "plyfs: %s\n", failure->what.c_str());
    return run::kExitRun;
  }
  take_defaults(std::move(defaults), *options);
  return run::run_program(std::move(*options));
}

}  // namespace plyfs
