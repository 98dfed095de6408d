#include "run/commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "config/cli_stack.h"
#include "config/failure_text.h"
#include "config/volume_spec.h"
#include "run/environment.h"
#include "run/inside.h"
#include "run/named_stack.h"
#include "run/records.h"
#include "run/server.h"
#include "run/trouble.h"
#include "store/home.h"
#include "sys/durable_file.h"
#include "sys/process_facts.h"
#include "sys/sandbox/front.h"
#include "sys/sandbox/process.h"
#include "sys/sandbox/user_namespace.h"

namespace plyfs::run {
namespace {

namespace sandbox = sys::sandbox;

void complain(const std::string& line) { (void)std::fprintf(stderr, "plyfs: %s\n", line.c_str()); }

int fail(const Failure& failure, int exit_code) {
  complain(failure.what);
  return exit_code;
}

int settle(const Settled& settled) {
  (void)std::fputs(settled.output.c_str(), stdout);
  if (!settled.failure.empty()) {
    complain(settled.failure);
  }
  return settled.exit_code;
}

int tell_ending(const sandbox::Front::Ending& ending) {
  if (!ending.failure.empty()) {
    complain(ending.failure);
  }
  return ending.exit_code;
}

/// Without subordinate ids there is one: said each time, since chown and su fail then.
void tell_one_id(const sandbox::IdMaps& ids) {
  if (ids.kind == sandbox::IdMaps::Kind::kOne) {
    complain("only one user and group inside, no chown, su or setgid: " + ids.why_one);
  }
}

sandbox::Terminal terminal_of(bool own) {
  return own ? sandbox::Terminal::kOwn : sandbox::usual_terminal();
}

int start_run(const RunOptions& options, const store::Home& home) {
  const sandbox::IdMaps ids = sandbox::possible_id_maps();
  tell_one_id(ids);
  const sandbox::Terminal terminal = terminal_of(options.terminal);
  auto links = sandbox::Link::make();
  const auto forked = links ? sandbox::fork_process() : Result<pid_t>{links.error()};
  if (!forked) {
    return fail(config::system_failure(
                    {"cannot start the run", "fork", forked.error(), "free memory or processes"}),
                kExitRun);
  }
  if (*forked == 0) {
    links->first.close();
    serve_run({options, home, ids, terminal, sandbox::parent_id()}, links->second);
    sandbox::end_process(0);
  }
  links->second.close();
  sandbox::Front front{std::move(links->first), terminal, options.stop_signal};
  const auto ending = front.attend(complain);
  (void)sandbox::wait_for_child(*forked);
  return tell_ending(ending);
}

std::optional<Failure> find_home(store::Home& home) {
  auto failure = store::Home::find(home);
  if (!failure) {
    // Root of a user namespace is still whoever started us.
    (void)setenv("PLYFS_HOME", home.path().c_str(), 1);
  }
  return failure;
}

int run_run(Arguments arguments) {
  auto parsed = parse_run(arguments);
  if (const auto* const settled = std::get_if<Settled>(&parsed)) {
    return settle(*settled);
  }
  return run_program(std::get<RunOptions>(std::move(parsed)));
}

/// In a process of its own: enters the run, and keeps a further program there.
void be_entered(const ExecOptions& options, const RunRecord& run, sandbox::Terminal terminal,
                const sandbox::Link& front) {
  const auto give_up = [&](const Failure& failure) {
    front.say(sandbox::Word::kFailed, kExitRun, failure.what);
  };
  const auto process = sandbox::open_process(run.init_pid);
  // The number may be another's by now, the namespace is not.
  const auto found = sandbox::pid_namespace_of(run.init_pid);
  if (!process || !found || *found != run.pid_namespace) {
    give_up(config::system_failure(
        {"the run has ended", options.name, Errno{ESRCH}, "'plyfs ps' shows what runs"}));
    return;
  }
  if (const sandbox::Step wrong = sandbox::join_namespaces(process->borrow())) {
    give_up(explain(*wrong));
    return;
  }
  ProgramOptions program;
  program.command = options.command;
  program.environment =
      make_environment({}, options.environment, terminal != sandbox::Terminal::kShared);
  program.directory = options.directory;
  program.user = options.user;
  program.terminal = terminal;
  program.one_id = sandbox::has_one_id();
  run_inside(program, front);
}

int run_exec(Arguments arguments) {
  const auto parsed = parse_exec(arguments);
  if (const auto* const settled = std::get_if<Settled>(&parsed)) {
    return settle(*settled);
  }
  const auto& options = std::get<ExecOptions>(parsed);
  store::Home home;
  if (const auto failure = find_home(home)) {
    return fail(*failure, kExitRun);
  }
  const auto run = find_run(home, options.name);
  if (!run) {
    return fail(config::system_failure({"nothing of that name runs", options.name, Errno{ESRCH},
                                        "'plyfs ps' shows what runs"}),
                kExitRun);
  }
  const sandbox::Terminal terminal = terminal_of(options.terminal);
  auto links = sandbox::Link::make();
  const auto forked = links ? sandbox::fork_process() : Result<pid_t>{links.error()};
  if (!forked) {
    return fail(config::system_failure({"cannot start the command", "fork", forked.error(),
                                        "free memory or processes"}),
                kExitRun);
  }
  if (*forked == 0) {
    links->first.close();
    be_entered(options, *run, terminal, links->second);
    sandbox::end_process(0);
  }
  links->second.close();
  sandbox::Front front{std::move(links->first), terminal, std::nullopt};
  const auto ending = front.attend(complain);
  (void)sandbox::wait_for_child(*forked);
  return tell_ending(ending);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text.append(text.empty() ? "" : " ").append(config::shown(word));
  }
  return text.empty() ? "(shell)" : text;
}

int run_ps(Arguments arguments) {
  bool json = false;
  CLI::App app{"List what runs: name or id, pid, engine, command.", "plyfs ps"};
  app.add_flag("--json", json, "print JSON");
  app.footer("Examples:\n  plyfs ps\n  plyfs ps --json");
  if (const auto line = config::run_parser(app, arguments, "plyfs ps")) {
    if (line->action == config::Action::kFail) {
      return fail(line->failure, line->failure.exit_code);
    }
    (void)std::fputs(line->output.c_str(), stdout);
    return 0;
  }
  store::Home home;
  if (const auto failure = find_home(home)) {
    return fail(*failure, failure->exit_code);
  }
  store::Json list = store::Json::array();
  std::string text = "NAME             PID      ENGINE  COMMAND\n";
  for (const RunRecord& run : live_runs(home)) {
    list.push_back(as_json(run));
    char head[300];
    (void)std::snprintf(head, sizeof head, "%-16s %-8d %-7s ",
                        run.name.empty() ? run.id.c_str() : run.name.c_str(), run.pid,
                        run.engine.c_str());
    text += head + joined(run.command) + "\n";
  }
  (void)std::fputs((json ? store::printed(list) : text).c_str(), stdout);
  return 0;
}

/// Becomes the command: nobody stays between it and the terminal.
int run_unshare(Arguments arguments) {
  CLI::App app{
      "Run a command, or a shell, in the user namespace of runs: as root over the "
      "subordinate ids.",
      "plyfs unshare"};
  app.footer(
      "Examples:\n  plyfs unshare ls -ln ~/.local/share/plyfs\n  plyfs unshare rm -rf rootfs");
  app.prefix_command();
  std::vector<const char*> words{arguments.begin(), arguments.end()};
  const bool help = !words.empty() && (std::string_view{words.front()} == "--help" ||
                                       std::string_view{words.front()} == "-h");
  if (help) {
    (void)std::fputs(app.help().c_str(), stdout);
    return 0;
  }
  if (!words.empty() && std::string_view{words.front()} == "--") {
    words.erase(words.begin());
  }
  const sandbox::IdMaps ids = sandbox::possible_id_maps();
  tell_one_id(ids);
  if (const sandbox::Step wrong = sandbox::enter_user_namespace(ids)) {
    return fail(explain(*wrong), kExitRun);
  }
  std::vector<std::string> command{words.begin(), words.end()};
  if (command.empty()) {
    const char* const shell = std::getenv("SHELL");
    command.emplace_back(shell != nullptr && *shell == '/' ? shell : "/bin/sh");
  }
  const Errno error = sandbox::replace_with(command);
  const bool missing = error == ENOENT;
  return fail(config::system_failure({"cannot run", command.front(), error,
                                      missing ? "is it installed?" : "is it a program?"}),
              missing ? 127 : 126);
}

/// `plyfs rm`, when it has removed a record: what the runs of that name kept goes with it.
void remove_kept(const store::Home& home, const std::vector<std::string>& names) {
  const auto forked = sandbox::fork_process();
  if (forked && *forked == 0) {
    if (!sandbox::enter_user_namespace(sandbox::possible_id_maps())) {
      for (const std::string& name : names) {
        (void)sys::remove_tree(kept_directory(home, name));
      }
    }
    sandbox::end_process(0);
  }
  if (forked) {
    (void)sandbox::wait_for_child(*forked);
  }
}

}  // namespace

void remove_kept_of_gone(Arguments names) {
  store::Home home;
  std::vector<std::string> gone;
  if (find_home(home)) {
    return;
  }
  for (const std::string name : names) {
    std::error_code error;
    const bool plain = !config::check_name(name, "bad name of a mount");
    if (plain && std::filesystem::exists(kept_directory(home, name), error) &&
        !std::filesystem::exists(home.mount(name), error)) {
      gone.push_back(name);
    }
  }
  if (!gone.empty()) {
    remove_kept(home, gone);
  }
}

int run_program(RunOptions options) {
  store::Home home;
  if (const auto failure = find_home(home)) {
    return fail(*failure, kExitRun);
  }
  if (options.mount.xattr_namespace == XattrNamespace::kProbe) {
    // As overlayfs inside has it, whoever runs: both engines, and who reads the upper later, must
    // see one upper alike.
    options.mount.xattr_namespace = XattrNamespace::kUser;
  }
  const bool terminal = terminal_of(options.terminal) != sandbox::Terminal::kShared;
  options.environment = make_environment(options.image_environment, options.environment, terminal);
  return start_run(options, home);
}

std::optional<int> run_command(Arguments words) {
  static const std::map<std::string_view, int (*)(Arguments)> kCommands{
      {"run", run_run}, {"exec", run_exec}, {"ps", run_ps}, {"unshare", run_unshare}};
  const auto command = kCommands.find(config::command_of(words));
  if (command == kCommands.end()) {
    return std::nullopt;
  }
  return command->second(words.subspan(2));
}

}  // namespace plyfs::run
