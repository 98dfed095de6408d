// STACK on the command line: layer options, a mount point, or the name of a mount.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dump/open_stack.h"
#include "plyfs/mount.h"
#include "plyfs/options.h"

namespace plyfs::commands {

/// As written.
struct StackWords {
  std::vector<std::string> option_strings;  ///< -o
  std::vector<std::string> lowers;
  std::string upper;
  std::string work;
  std::string target;  ///< MOUNTPOINT or NAME; empty when there are layer options
  [[nodiscard]] bool has_layers() const {
    return !option_strings.empty() || !lowers.empty() || !upper.empty();
  }
};

/// Adds -o, --lower, --upper and --work; the positional is the command's own.
void add_stack_options(CLI::App& app, StackWords& words);

/// Asks the live mount at a mount point or of that name. Exit code 2 when there is none.
std::optional<nlohmann::ordered_json> ask_mount(const std::string& target,
                                                const std::string& request, Failure& failure);

/// The layers that are meant. For a mount that is live its daemon is asked, for a name its record
/// is read. nullopt with `failure` filled: exit code 1 for what was written wrongly, 2 for the
/// rest.
std::optional<MountOptions> resolve_stack(const StackWords& words, Failure& failure);

/// The same, opened.
std::unique_ptr<dump::OpenStack> open_stack(const StackWords& words, Failure& failure);

}  // namespace plyfs::commands
