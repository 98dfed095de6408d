#include "commands/dump_command.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/text.h"
#include "commands/output.h"
#include "commands/stack_argument.h"
#include "commands/stack_reports.h"
#include "commands/stats_command.h"
#include "config/failure_text.h"
#include "dump/compare.h"
#include "dump/reports.h"

namespace plyfs::commands {
namespace {

constexpr const char* kFooter =
    R"(STACK is a mount point, the name of a mount, or the layer options of `plyfs mount`.

Examples:
  plyfs-dump merged which /etc/motd            where does this file come from, and what does it hide
  plyfs-dump --upper up --lower base tree      the same without a mount
  plyfs-dump merged tree /etc --only whiteouts
  plyfs-dump merged --json which /bin/sh | jq .paths[0].versions
  plyfs-dump merged snapshot > before; ...; plyfs-dump merged snapshot > after
  plyfs-dump compare before after
  plyfs-dump --upper up --lower base verify --repair

Exit codes: 0 done, 1 wrong usage, 2 system error; verify: as fsck(8).)";

struct DumpArguments {
  StackWords stack;
  bool json = false;
  bool exact_bytes = false;
  bool digests = false;
  std::vector<std::string> paths;
  std::string path;
  std::optional<std::size_t> depth;
  std::string only;
  bool no_content = false;
  bool repair = false;
  std::string progress = "auto";
  bool watch = false;
  double interval_s = 1.0;
};

int dump_failed(const Failure& failure) { return complain(kDumpProgram, failure); }

dump::PrintStyle style_of(const DumpArguments& arguments) {
  dump::PrintStyle style;
  style.exact_bytes = arguments.exact_bytes;
  style.digests = arguments.digests;
  style.colour = !arguments.json && may_colour();
  return style;
}

dump::Format snapshot_format(const DumpArguments& arguments) {
  return arguments.json ? dump::Format::kJson : dump::Format::kText;
}

Failure path_failure(const std::string& path, Errno error) {
  return config::system_failure(
      {"cannot look up", '/' + path, error, "name a path in the merged tree"});
}

/// Directories that could not be read are told, and are not taken for empty ones.
int finish_walk(const dump::WalkResult& result) {
  const int code = finish_out(kDumpProgram, 0);
  if (code == 0 && result.unreadable.directories > 0) {
    return dump_failed(
        {"some directories could not be read: " + dump::unreadable_text(result.unreadable) +
             "; run as root, or as the owner of the layers",
         config::kExitSystem});
  }
  return code;
}

/// A path as the shell sees it, where one in the merged tree is wanted; nothing is looked up for
/// this. What it would be in the tree; nullopt: it is none of the mount's.
std::optional<std::string> as_in_the_tree(const dump::OpenStack& stack, const std::string& path) {
  std::error_code error;
  const std::string& mountpoint = stack.options().mountpoint;
  const auto root = std::filesystem::absolute(mountpoint, error).lexically_normal();
  const auto given = std::filesystem::absolute(path, error).lexically_normal();
  const std::string inside = given.lexically_relative(root).string();
  if (error || mountpoint.empty() || inside.empty() || inside.starts_with("..")) {
    return std::nullopt;
  }
  return '/' + inside;
}

int which(const DumpArguments& arguments, const dump::OpenStack& stack) {
  const dump::PrintStyle style = style_of(arguments);
  dump::Json json = dump::header(stack, "which");
  json["paths"] = dump::Json::array();
  std::string text = dump::layers_legend(stack, style);
  int code = 0;
  for (const std::string& path : arguments.paths) {
    auto target = dump::find_path(stack, path);
    if (!target) {
      return dump_failed(path_failure(path, target.error()));
    }
    const bool nowhere = !target->answer.found && target->answer.versions.empty();
    if (const auto meant = nowhere ? as_in_the_tree(stack, path) : std::nullopt) {
      return dump_failed(config::usage_failure(
          {"no path in the merged tree", path, Errno{ENOENT},
           "paths begin at the root of the mount: " + config::shown(*meant)}));
    }
    // What is told is that nobody can look it up, in a mount either.
    code = target->answer.error ? config::kExitSystem : code;
    if (arguments.json) {
      json["paths"].push_back(dump::answer_json(stack, target->answer, style));
    } else {
      text += '\n' + dump::answer_text(stack, target->answer, style);
    }
  }
  (void)write_out(arguments.json ? json.dump(2) + '\n' : text);
  return finish_out(kDumpProgram, code);
}

int tree(const DumpArguments& arguments, const dump::OpenStack& stack) {
  static const std::map<std::string, dump::Only> kOnly = {
      {"", dump::Only::kAll},          {"upper", dump::Only::kUpper},
      {"hidden", dump::Only::kHidden}, {"whiteouts", dump::Only::kWhiteouts},
      {"opaque", dump::Only::kOpaque}, {"volumes", dump::Only::kVolumes}};
  dump::TreeOptions options;
  options.path = arguments.path;
  options.most_depth = arguments.depth.value_or(options.most_depth);
  options.only = kOnly.at(arguments.only);
  options.format = snapshot_format(arguments);
  options.style = style_of(arguments);
  const auto result = dump::print_tree(stack, options, write_out);
  return result ? finish_walk(*result) : dump_failed(path_failure(arguments.path, result.error()));
}

int snapshot(const DumpArguments& arguments, const dump::OpenStack& stack) {
  const auto result =
      dump::print_snapshot(stack, snapshot_format(arguments), arguments.digests, write_out);
  return result ? finish_walk(*result) : dump_failed(path_failure("", result.error()));
}

ReportArguments report_arguments(const DumpArguments& arguments) {
  return {arguments.json, arguments.no_content, arguments.repair, progress_mode(arguments.progress),
          style_of(arguments)};
}

int layers(const DumpArguments& arguments, const dump::OpenStack& stack) {
  return report_layers(report_arguments(arguments), stack);
}

int copyups(const DumpArguments& arguments, const dump::OpenStack& stack) {
  return report_copyups(report_arguments(arguments), stack);
}

int verify(const DumpArguments& arguments, const dump::OpenStack& stack) {
  return report_verify(report_arguments(arguments), stack);
}

int compare(const DumpArguments& arguments) {
  Failure failure;
  const auto text =
      dump::compare_snapshots(arguments.paths[0], arguments.paths[1], style_of(arguments), failure);
  if (!text) {
    return dump_failed(failure);
  }
  (void)write_out(*text);
  return finish_out(kDumpProgram, 0);
}

using Question = int (*)(const DumpArguments&, const dump::OpenStack&);

CLI::App* add_question(CLI::App& app, const char* name, const char* help, Question question,
                       Question& chosen) {
  CLI::App* const command = app.add_subcommand(name, help);
  command->fallthrough();
  command->callback([question, &chosen] { chosen = question; });
  return command;
}

void add_commands(CLI::App& app, DumpArguments& arguments, Question& chosen) {
  CLI::App* command = add_question(
      app, "which", "every version of a path, and why it is (not) seen", which, chosen);
  command->add_option("PATH", arguments.paths, "paths in the merged tree")->required();
  command->add_flag("--digest", arguments.digests, "XXH3-128 of file contents");
  command = add_question(app, "tree", "the merged tree, with what its layers hide", tree, chosen);
  command->add_option("PATH", arguments.path, "where to begin");
  command->add_option("--depth", arguments.depth, "how many levels below")->type_name("N");
  command->add_option("--only", arguments.only, "upper, hidden, whiteouts, opaque or volumes")
      ->check(CLI::IsMember({"upper", "hidden", "whiteouts", "opaque", "volumes"}))
      ->type_name("KIND");
  command =
      add_question(app, "layers", "what each layer holds, hides and has in common", layers, chosen);
  command->add_flag("--no-content", arguments.no_content, "do not look for equal contents");
  command->add_option("--progress", arguments.progress, "auto, plain or none")
      ->check(CLI::IsMember({"auto", "plain", "none"}))
      ->type_name("KIND");
  (void)add_question(app, "copyups", "what the upper copied from below, and what of it was needed",
                     copyups, chosen);
  command = add_question(app, "verify", "look for what is left over, dangling or unreadable",
                         verify, chosen);
  command->add_flag("--repair", arguments.repair, "remove what is left over in the upper and work");
  command = app.add_subcommand("compare", "the difference of two snapshots");
  command->fallthrough();
  command->add_option("SNAPSHOT", arguments.paths, "files written by snapshot")
      ->required()
      ->expected(2);
  command = app.add_subcommand("stats", "live counters of a mount: requests, copy-ups, caches");
  command->fallthrough();
  command->add_flag("--watch", arguments.watch, "print again and again, until interrupted");
  command->add_option("--interval", arguments.interval_s, "seconds between (default 1)")
      ->check(CLI::Range(0.05, 86400.0))
      ->type_name("SECONDS");
  command = add_question(app, "snapshot", "everything, for compare", snapshot, chosen);
  command->add_flag("--digest", arguments.digests, "XXH3-128 of file contents");
}

}  // namespace

int run_dump(std::span<const char* const> words) {
  DumpArguments arguments;
  Question chosen = nullptr;
  CLI::App app{"See into a stack of layers.", std::string{kDumpProgram}};
  app.set_version_flag("--version", "plyfs-dump version " PLYFS_VERSION);
  app.add_option("STACK", arguments.stack.target, "a mount point or the name of a mount");
  add_stack_options(app, arguments.stack);
  app.add_flag("--json", arguments.json, "print JSON");
  app.add_flag("--bytes", arguments.exact_bytes, "print sizes in bytes");
  app.require_subcommand(1);
  app.footer(kFooter);
  add_commands(app, arguments, chosen);
  std::vector<std::string> reversed(words.rbegin(), words.rend());
  reversed.pop_back();  // the program's name
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    (void)write_out(app.help());
    return finish_out(kDumpProgram, 0);
  } catch (const CLI::CallForVersion&) {
    (void)write_out(app.version() + '\n');
    return finish_out(kDumpProgram, 0);
  } catch (const CLI::ParseError& error) {
    return dump_failed(config::usage_failure(
        {"wrong usage", error.what(), Errno{EINVAL}, "see 'plyfs-dump --help'"}));
  }
  if (app.got_subcommand("compare")) {
    return compare(arguments);
  }
  if (chosen == nullptr) {
    if (arguments.stack.target.empty() || arguments.stack.has_layers()) {
      return dump_failed(
          config::usage_failure({"no mount given", "STACK", Errno{EINVAL},
                                 "name a mount point, or the name of a live mount"}));
    }
    return run_stats({arguments.stack.target, arguments.json, arguments.watch, arguments.interval_s,
                      style_of(arguments)});
  }
  Failure failure;
  const auto stack = open_stack(arguments.stack, failure);
  return stack ? chosen(arguments, *stack) : dump_failed(failure);
}

}  // namespace plyfs::commands
