#include "run/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <utility>

#include "config/cli_stack.h"
#include "config/config_file.h"
#include "config/failure_text.h"
#include "config/volume_spec.h"
#include "run/environment.h"
#include "run/named_stack.h"

namespace plyfs::run {
namespace {

using config::usage_failure;
using MaybeFailure = std::optional<Failure>;

constexpr const char* kRunFooter = R"(Examples:
  plyfs run --lower rootfs -- apt-get install -y gcc      thrown away at the end
  plyfs run --lower rootfs --name work --keep -- make     kept: 'plyfs diff work', 'plyfs apply work'
  plyfs run work                                          a shell there, once more
  plyfs run --lower / -v "$PWD:/src" -w /src -- make      a view of this very machine
  plyfs run --lower rootfs -t -u www-data --net none -- bash

Exit code: that of COMMAND, 128+N if signal N ended it, 125 if plyfs failed, 126 if COMMAND cannot be
run, 127 if it is not there.)";

constexpr const char* kExecFooter = R"(Examples:
  plyfs exec work -- ps aux
  plyfs exec -t -u www-data work -- bash)";

struct RunWords {
  config::StackWords stack;
  config::VolumeWords volumes;
  std::string config_file;
  std::vector<std::string> environment;
  std::vector<std::string> environment_files;
  std::vector<std::string> tmpfs;
  std::string engine = "auto";
  std::string network = "host";
  bool interactive = false;
};

/// The arguments of plyfs, and the command: what follows the first "--", or the first word that is
/// no option.
struct Split {
  std::vector<const char*> own;
  std::vector<std::string> command;
  bool marked = false;
};

Split split_at_mark(Arguments arguments) {
  Split split;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (std::string_view{arguments[i]} == "--") {
      split.marked = true;
      split.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
    split.own.push_back(arguments[i]);
  }
  return split;
}

Settled settled(const config::CommandLine& line) {
  return line.action == config::Action::kFail ? Settled{kExitRun, {}, line.failure.what}
                                              : Settled{0, line.output, {}};
}

Settled refused(const Failure& failure) { return {kExitRun, {}, failure.what}; }

void add_program_options(CLI::App& app, RunWords& words, std::string& directory, std::string& user,
                         bool& terminal) {
  config::add_repeated(app, "-e,--env", words.environment,
                       "set a variable; without a value take the caller's")
      ->type_name("NAME[=VALUE]");
  config::add_repeated(app, "--env-file", words.environment_files, "such words, one on a line")
      ->type_name("FILE");
  app.add_option("-w,--workdir", directory, "where COMMAND starts (default: /)")->type_name("DIR");
  app.add_option("-u,--user", user, "who runs COMMAND, by name or number there (default: root)")
      ->type_name("USER[:GROUP]");
  app.add_flag("-i,--interactive", words.interactive,
               "accepted: standard input is always passed on");
  app.add_flag("-t,--tty", terminal, "a terminal of its own for COMMAND");
}

void add_run_options(CLI::App& app, RunWords& words, RunOptions& options) {
  config::add_stack_options(app, words.stack);
  config::add_volume_options(app, words.volumes);
  app.add_option("--config", words.config_file, "take the options that FILE has (TOML)")
      ->type_name("FILE");
  app.add_flag("--keep", options.keep, "keep what COMMAND changes, under the name of --name");
  app.add_option("--engine", words.engine, "who serves the union: auto, fuse or kernel")
      ->type_name("ENGINE");
  add_program_options(app, words, options.directory, options.user, options.terminal);
  app.add_option("--hostname", options.hostname, "the host's name inside")->type_name("NAME");
  app.add_option("--net", words.network, "host, or none: only the loopback device")
      ->type_name("host|none");
  app.add_flag("--read-only", options.read_only, "nothing of the root directory can be changed");
  config::add_repeated(app, "--tmpfs", words.tmpfs, "an empty directory in memory")
      ->type_name("PATH[:OPTS]");
  app.add_flag("--bind-host-devices", options.host_devices, "show the host's /dev");
  app.add_flag("--verbose", options.verbose, "say which engine is used, and why");
  app.footer(kRunFooter);
  app.prefix_command();
}

MaybeFailure apply_environment(const RunWords& words, std::vector<std::string>& environment) {
  for (const std::string& file : words.environment_files) {
    if (const Status read = add_variables_of(file, environment); !read) {
      return usage_failure(
          {"cannot read variables", file, read.error(), "name a file of lines NAME=VALUE"});
    }
  }
  for (const std::string& word : words.environment) {
    add_variable(environment, word);
  }
  return std::nullopt;
}

MaybeFailure apply_tmpfs(const RunWords& words, RunOptions& options) {
  for (const std::string& word : words.tmpfs) {
    const std::size_t colon = word.find(':');
    const auto destination = config::normalised(word.substr(0, colon));
    if (!destination || *destination == "/") {
      return usage_failure(
          {"bad --tmpfs", word, Errno{EINVAL}, "name an absolute path, as /var/cache:size=64m"});
    }
    options.tmpfs.push_back(
        {*destination, colon == std::string::npos ? "mode=1777" : word.substr(colon + 1)});
  }
  return std::nullopt;
}

MaybeFailure apply_choices(const RunWords& words, RunOptions& options) {
  static const std::map<std::string, Engine> kEngines{
      {"auto", Engine::kAuto}, {"fuse", Engine::kFuse}, {"kernel", Engine::kKernel}};
  const auto engine = kEngines.find(words.engine);
  if (engine == kEngines.end()) {
    return usage_failure(
        {"bad --engine", words.engine, Errno{EINVAL}, "choose auto, fuse or kernel"});
  }
  options.engine = engine->second;
  if (words.network != "host" && words.network != "none") {
    return usage_failure({"bad --net", words.network, Errno{EINVAL}, "choose host or none"});
  }
  options.own_network = words.network == "none";
  return std::nullopt;
}

/// The stack by options, a file, or a name: that of --name, or of the first word.
MaybeFailure apply_stack(RunWords& words, const std::string& current, RunOptions& options,
                         std::vector<std::string>& rest) {
  config::CommandLine line;
  for (const std::string& text : words.stack.option_strings) {
    if (words.config_file.empty()) {
      words.config_file = config::config_word(text).value_or("");
    }
  }
  if (!words.config_file.empty()) {
    if (auto failure = config::load_config(words.config_file, current, line)) {
      return failure;
    }
  }
  config::FromFile from_file = config::take_lists(line.options);
  auto failure = config::apply_stack_words(words.stack, config::UnknownWords::kRefuse, line);
  failure = failure ? failure : config::apply_volume_words(words.volumes, line.options);
  failure = failure ? failure : config::add_lists(std::move(from_file), line.options);
  if (failure) {
    return failure;
  }
  options.mount = std::move(line.options);
  if (options.mount.lowers.empty() && options.mount.image.empty()) {
    if (options.mount.name.empty() && !rest.empty()) {
      options.mount.name = rest.front();
      rest.erase(rest.begin());
    }
    failure = take_named_stack(options);
  }
  if (!failure) {
    line.options = std::move(options.mount);
    config::finish_options({config::Caller::kRoot, current, {}}, line);
    options.mount = std::move(line.options);
  }
  return failure;
}

MaybeFailure check_whole(const RunOptions& options) {
  if (options.keep && options.mount.name.empty()) {
    return usage_failure(
        {"nothing to keep it under", "--keep", Errno{EINVAL}, "give it a name with --name"});
  }
  if (options.keep && options.read_only) {
    return usage_failure(
        {"nothing to keep", "--read-only", Errno{EINVAL}, "leave out --keep or --read-only"});
  }
  return std::nullopt;
}

std::string current_directory() {
  std::error_code error;
  return std::filesystem::current_path(error).string();
}

/// What CLI11 left over, in order; an option among it is one that nobody knows.
MaybeFailure take_rest(const CLI::App& app, const char* command, std::vector<std::string>& rest) {
  rest = app.remaining();
  if (!rest.empty() && rest.front().starts_with('-')) {
    return usage_failure({"wrong usage", rest.front(), Errno{EINVAL},
                          std::string{"see 'plyfs "} + command + " --help'"});
  }
  return std::nullopt;
}

}  // namespace

std::variant<RunOptions, Settled> parse_run(Arguments arguments) {
  Split split = split_at_mark(arguments);
  RunOptions options;
  RunWords words;
  CLI::App app{"Run a program in a stack of layers, as an ordinary user.", "plyfs run"};
  add_run_options(app, words, options);
  if (const auto line = config::run_parser(app, split.own, "plyfs run")) {
    return settled(*line);
  }
  std::vector<std::string> rest;
  auto failure = take_rest(app, "run", rest);
  failure = failure ? failure : apply_stack(words, current_directory(), options, rest);
  failure = failure ? failure : apply_environment(words, options.environment);
  failure = failure ? failure : apply_tmpfs(words, options);
  failure = failure ? failure : apply_choices(words, options);
  failure = failure ? failure : check_whole(options);
  if (!failure && split.marked && !rest.empty()) {
    failure = usage_failure({"too many arguments", rest.front(), Errno{EINVAL},
                             "the command follows --; a stack is named once"});
  }
  if (failure) {
    return refused(*failure);
  }
  options.command = split.marked ? std::move(split.command) : std::move(rest);
  return options;
}

std::variant<ExecOptions, Settled> parse_exec(Arguments arguments) {
  Split split = split_at_mark(arguments);
  ExecOptions options;
  RunWords words;
  CLI::App app{"Run another program in a run that goes on.", "plyfs exec"};
  add_program_options(app, words, options.directory, options.user, options.terminal);
  app.footer(kExecFooter);
  app.prefix_command();
  if (const auto line = config::run_parser(app, split.own, "plyfs exec")) {
    return settled(*line);
  }
  std::vector<std::string> rest;
  auto failure = take_rest(app, "exec", rest);
  failure = failure ? failure : apply_environment(words, options.environment);
  if (!failure && (rest.empty() || (split.marked && rest.size() > 1))) {
    failure = usage_failure({"wrong usage", "NAME", Errno{EINVAL},
                             "name one run ('plyfs ps'); the command follows --"});
  }
  if (failure) {
    return refused(*failure);
  }
  options.name = rest.front();
  rest.erase(rest.begin());
  options.command = split.marked ? std::move(split.command) : std::move(rest);
  return options;
}

}  // namespace plyfs::run
