// The options of a stack and its volumes, shared by the commands that take them.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/cli.h"
#include "config/options_parser.h"
#include "plyfs/mount.h"
#include "plyfs/options.h"

namespace plyfs::config {

/// The stack options as the command line has them, before they become MountOptions.
struct StackWords {
  std::vector<std::string> option_strings;
  std::vector<std::string> lowers;
  std::string upper;
  std::string work;
  std::string image;
};

/// The options that come with volumes: -v, --volumes-from, --name, --strict-volumes.
struct VolumeWords {
  std::vector<std::string> volumes;
  std::vector<std::string> volumes_from;
  std::string name;
  bool strict = false;
};

CommandLine fail_with(Failure failure);
CommandLine print(std::string text);

/// An option that may be given several times, each time with one value.
CLI::Option* add_repeated(CLI::App& app, const std::string& names, std::vector<std::string>& values,
                          const std::string& description);

void add_stack_options(CLI::App& app, StackWords& words);
void add_volume_options(CLI::App& app, VolumeWords& words);

/// The words of -o first, then the long options; errors have exit code 1.
std::optional<Failure> apply_stack_words(const StackWords& words, UnknownWords unknown,
                                         CommandLine& line);
std::optional<Failure> apply_volume_words(const VolumeWords& words, MountOptions& options);

/// What follows from the caller; makes the mountpoint absolute. Once, after all words.
void finish_options(const Surroundings& surroundings, CommandLine& line);

/// Runs CLI11 over the arguments; a command line comes back when that settles the matter.
std::optional<CommandLine> run_parser(CLI::App& app, std::span<const char* const> arguments,
                                      const std::string& help_hint);

/// The command in `plyfs COMMAND ...`; empty when there is none, or for another program's name.
std::string_view command_of(std::span<const char* const> words);

}  // namespace plyfs::config
