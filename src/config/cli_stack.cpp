#include "config/cli_stack.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "config/failure_text.h"
#include "config/nearest.h"
#include "config/volume_spec.h"

namespace plyfs::config {

CommandLine fail_with(Failure failure) {
  CommandLine line;
  line.action = Action::kFail;
  line.failure = std::move(failure);
  return line;
}

CommandLine print(std::string text) {
  CommandLine line;
  line.output = std::move(text);
  return line;
}

CLI::Option* add_repeated(CLI::App& app, const std::string& names, std::vector<std::string>& values,
                          const std::string& description) {
  // Without this a repeated option would swallow the arguments that follow it.
  return app.add_option(names, values, description)->allow_extra_args(false);
}

void add_stack_options(CLI::App& app, StackWords& words) {
  add_repeated(app, "-o,--options", words.option_strings, "mount options, see below")
      ->type_name("OPTS");
  add_repeated(app, "--lower", words.lowers, "a read-only layer; the first is the topmost")
      ->type_name("DIR");
  app.add_option("--upper", words.upper, "the writable layer; without it the mount is read-only")
      ->type_name("DIR");
  app.add_option("--work", words.work,
                 "staging on the upper's filesystem (default: UPPER.work beside it)")
      ->type_name("DIR");
  app.add_option("--image", words.image,
                 "the layers of an image of 'plyfs image ls', below those of --lower")
      ->type_name("NAME[:TAG]");
}

std::optional<Failure> apply_stack_words(const StackWords& words, UnknownWords unknown,
                                         CommandLine& line) {
  for (const std::string& text : words.option_strings) {
    if (auto failure = parse_options(text, unknown, line.options, line.warnings)) {
      return failure;
    }
  }
  for (const std::string& lower : words.lowers) {
    if (auto failure = add_layer(LayerPath{.path = lower}, line.options)) {
      return failure;
    }
  }
  if (!words.image.empty()) {
    line.options.image = words.image;
  }
  if (!words.upper.empty()) {
    line.options.upper = words.upper;
  }
  if (!words.work.empty()) {
    line.options.work = words.work;
  }
  return std::nullopt;
}

void add_volume_options(CLI::App& app, VolumeWords& words) {
  add_repeated(app, "-v,--volume", words.volumes,
               "a volume: /host/path:/path/in/mount[:ro], NAME:/path/in/mount[:ro,nocopy,"
               "subpath=DIR], or /path/in/mount")
      ->type_name("VOLUME");
  add_repeated(app, "--volumes-from", words.volumes_from,
               "take over the volumes of the mount of that name, mounted or not")
      ->type_name("NAME[:ro]");
  app.add_option("--name", words.name, "keep a record of this mount under a name ('plyfs ls')")
      ->type_name("NAME");
  app.add_flag("--strict-volumes", words.strict,
               "refuse missing host directories instead of creating them");
}

std::optional<Failure> apply_volume_words(const VolumeWords& words, MountOptions& options) {
  for (const std::string& text : words.volumes) {
    if (auto failure = add_volume(text, options)) {
      return failure;
    }
  }
  for (const std::string& text : words.volumes_from) {
    if (auto failure = add_volumes_from(text, options)) {
      return failure;
    }
  }
  if (!words.name.empty()) {
    if (auto failure = check_name(words.name, "bad name of a mount")) {
      return failure;
    }
    options.name = words.name;
  }
  options.strict_volumes = options.strict_volumes || words.strict;
  return std::nullopt;
}

void finish_options(const Surroundings& surroundings, CommandLine& line) {
  MountOptions& options = line.options;
  apply_defaults(surroundings.caller, options);
  // Debug output is for a terminal, and there is none in the background.
  options.foreground = options.foreground || options.debug;
  // The daemon leaves the directory of the call, and unmounts by this name.
  if (!options.mountpoint.empty() && !options.mountpoint.starts_with('/') &&
      surroundings.directory.starts_with('/')) {
    options.mountpoint = surroundings.directory + "/" + options.mountpoint;
  }
}

namespace {

/// Names the option that is not known; without one, the argument that is too many.
Failure unexpected(CLI::App& app, const std::string& help_hint) {
  const std::vector<std::string> extras = app.remaining();
  const auto option = std::ranges::find_if(
      extras, [](const std::string& word) { return word.size() > 1 && word.front() == '-'; });
  const std::string hint = "see '" + help_hint + " --help'";
  if (option == extras.end()) {
    return usage_failure(
        {"too many arguments", extras.empty() ? "" : extras.front(), Errno{EINVAL}, hint});
  }
  std::vector<std::string> known;
  for (const CLI::Option* const each : app.get_options()) {
    for (const std::string& name : each->get_lnames()) {
      known.push_back("--" + name);
    }
  }
  const std::string word = option->substr(0, option->find('='));
  return usage_failure({"unknown option", *option, Errno{EINVAL}, suggestion(word, known, hint)});
}

}  // namespace

std::optional<CommandLine> run_parser(CLI::App& app, std::span<const char* const> arguments,
                                      const std::string& help_hint) {
  // CLI11 takes them last first.
  std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return print(app.help());
  } catch (const CLI::ExtrasError&) {
    return fail_with(unexpected(app, help_hint));
  } catch (const CLI::ParseError& error) {
    return fail_with(usage_failure(
        {"wrong usage", error.what(), Errno{EINVAL}, "see '" + help_hint + " --help'"}));
  }
  return std::nullopt;
}

std::string_view command_of(std::span<const char* const> words) {
  if (words.size() < 2) {
    return {};
  }
  const std::string_view program = words[0];
  return program.substr(program.rfind('/') + 1) == "plyfs" ? words[1] : std::string_view{};
}

}  // namespace plyfs::config
