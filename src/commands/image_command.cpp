#include "commands/image_command.h"

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "commands/image_import.h"
#include "commands/output.h"
#include "config/cli_stack.h"
#include "config/failure_text.h"
#include "store/commands.h"

namespace plyfs::commands {

std::optional<int> run_image_command(std::span<const char* const> words) {
  if (config::command_of(words) != "image") {
    return std::nullopt;
  }
  CLI::App app{"Images: from archives into the store, and back.", "plyfs image"};
  app.require_subcommand(1);
  ImageImportWords import;
  CLI::App& import_app = *app.add_subcommand("import", "get images from an archive");
  add_image_import(import_app, import);
  if (const auto settled = config::run_parser(app, words.subspan(2), "plyfs image")) {
    return store::settle(*settled);
  }
  if (import_app.parsed()) {
    return run_image_import(import);
  }
  return config::kExitUsage;
}

}  // namespace plyfs::commands
