// The plyfs command: parse, validate, go to the background, mount, serve.
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "commands/image_command.h"
#include "commands/image_use.h"
#include "commands/inspect_command.h"
#include "commands/layer_commands.h"
#include "commands/umount_command.h"
#include "commands/volume_transfer.h"
#include "config/check_report.h"
#include "config/cli.h"
#include "config/cli_stack.h"
#include "config/config_file.h"
#include "config/failure_text.h"
#include "config/umount.h"
#include "config/validate.h"
#include "plyfs/mount.h"
#include "run/commands.h"
#include "run_image.h"
#include "store/attachment.h"
#include "store/commands.h"
#include "sys/creds.h"
#include "sys/daemon.h"
#include "sys/host_check.h"

namespace {

using plyfs::Failure;
using plyfs::Mount;
using plyfs::config::Action;
using plyfs::config::CommandLine;
using plyfs::sys::Daemon;

// A signal handler can reach nothing else. Written before and after Mount::run only.
std::atomic<Mount*> running_mount{nullptr};
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<Mount*>::is_always_lock_free);

void on_stop_signal(int /*signal*/) {
  stop_requested = true;
  if (Mount* const mount = running_mount.load()) {
    mount->stop();
  }
}

void catch_signals() {
  struct sigaction stop = {};
  stop.sa_handler = on_stop_signal;
  stop.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    (void)::sigaction(signal, &stop, nullptr);
  }
  // Their default would end the process, and leave a dead mount. A handler that does nothing, since
  // ignoring would be inherited by programs that are started.
  struct sigaction nothing = stop;
  nothing.sa_handler = [](int) {};
  for (const int signal : {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGXCPU, SIGXFSZ, SIGPOLL,
                           SIGPWR, SIGSTKFLT}) {
    (void)::sigaction(signal, &nothing, nullptr);
  }
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
    (void)::sigaction(signal, &nothing, nullptr);
  }
}

void complain(std::string_view line) {
  (void)std::fprintf(stderr, "plyfs: %.*s\n", static_cast<int>(line.size()), line.data());
}

int fail(const Failure& failure) {
  complain(failure.what);
  return failure.exit_code;
}

/// In the daemon, or in the foreground: everything from opening the layers to the umount.
int serve(plyfs::MountOptions options, const std::string& save, Daemon daemon) {
  std::optional<plyfs::store::Attachment> attachment{std::in_place};
  const auto fail_start = [&](const Failure& failure) {
    attachment->fail();
    attachment.reset();  // before anybody is told: they may try again at once
    return daemon.fail(failure.what, failure.exit_code) ? failure.exit_code : fail(failure);
  };
  catch_signals();
  Failure failure;
  if (const auto refused = attachment->resolve(options)) {
    return fail_start(*refused);
  }
  const std::unique_ptr<Mount> mount = Mount::make(options, failure);
  if (!mount) {
    return fail_start(failure);
  }
  attachment->settle(options);
  if (!save.empty()) {
    if (const auto unsaved = plyfs::config::save_config(save, options)) {
      return fail_start(*unsaved);
    }
  }
  // The layers are open; only a mountpoint that could not be made absolute still needs the
  // directory of the call.
  if (options.mountpoint.starts_with('/')) {
    (void)daemon.leave_directory();
  }
  running_mount = mount.get();
  if (stop_requested) {  // while the layers were opened
    running_mount = nullptr;
    return fail_start(plyfs::config::mount_failure(
        {"mount ended by a signal", options.mountpoint, plyfs::Errno{EINTR}, "start it again"}));
  }
  const bool served = mount->run(
      [&] {
        // Nobody waits any more: whoever called was interrupted, and does not want the mount.
        if (!daemon.ready()) {
          mount->stop();
        }
      },
      failure);
  running_mount = nullptr;
  return served ? 0 : fail_start(failure);
}

int print_report(const Daemon::Report& report) {
  if (report.lost) {
    const std::string cause = report.signal != 0
                                  ? "killed by signal " + std::to_string(report.signal)
                                  : std::string{"it ended without a word"};
    return fail(
        plyfs::config::mount_failure({"the daemon died before the mount was usable", cause,
                                      plyfs::Errno{EIO}, "run again with -f -d to see why"}));
  }
  if (!report.message.empty()) {
    complain(report.message);
  }
  return report.exit_code;
}

plyfs::sys::HostFacts this_host() {
  const char* const search_path = std::getenv("PATH");
  return plyfs::sys::host_facts(search_path != nullptr ? search_path : "");
}

int mount(CommandLine line) {
  const auto host = this_host();
  plyfs::sys::UniqueFd image;  // until the mount has a record that names it
  if (const auto failure = plyfs::commands::use_image(line.options, image)) {
    return fail(*failure);
  }
  if (line.action == Action::kMount &&
      !plyfs::config::is_mounted_by_caller(line.options.mountpoint)) {
    const std::string told = plyfs::config::clear_mountpoint(line.options.mountpoint, host);
    if (!told.empty()) {
      complain(told);
    }
  }
  const auto validation = plyfs::config::validate(line.options, host);
  for (const std::string& warning : validation.warnings) {
    complain(warning);
  }
  if (validation.failure) {
    return fail(*validation.failure);
  }
  if (line.action == Action::kPretendMount) {
    return 0;
  }
  if (line.options.foreground) {
    return serve(line.options, line.save, Daemon::in_foreground());
  }
  const bool by_caller = plyfs::config::is_mounted_by_caller(line.options.mountpoint);
  auto started = Daemon::start(by_caller ? plyfs::sys::InheritedFiles::kKeep
                                         : plyfs::sys::InheritedFiles::kClose);
  if (!started) {
    return fail(plyfs::config::system_failure({"cannot start the daemon", "fork", started.error(),
                                               "free memory or processes, or use -f"}));
  }
  if (const auto* const report = std::get_if<Daemon::Report>(&*started)) {
    return print_report(*report);
  }
  return serve(line.options, line.save, std::get<Daemon>(*std::move(started)));
}

int check(CommandLine line) {
  plyfs::sys::UniqueFd image;
  if (const auto failure = plyfs::commands::use_image(line.options, image)) {
    return fail(*failure);
  }
  const auto report =
      plyfs::config::check_machine(line.options, this_host(), plyfs::sys::probe_user_namespace());
  const bool json = line.format == plyfs::config::OutputFormat::kJson;
  (void)std::fputs((json ? as_json(report) : as_text(report)).c_str(), stdout);
  return report.exit_code;
}

plyfs::config::Surroundings surroundings() {
  plyfs::config::Surroundings found;
  if (plyfs::sys::current_privileges().euid == 0) {
    found.caller = plyfs::config::Caller::kRoot;
  }
  std::error_code error;
  found.directory = std::filesystem::current_path(error).string();
  if (std::getenv("FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT") != nullptr) {
    found.compatible_whiteout = plyfs::WhiteoutFamily::kAufs;
  }
  return found;
}

int run(std::span<const char* const> arguments) {
  if (const auto exit_code = plyfs::commands::run_layer_command(arguments)) {
    return *exit_code;
  }
  if (arguments.size() == 5 && plyfs::config::command_of(arguments) == "image" &&
      std::string_view{arguments[2]} == "mount") {
    return run(std::array{arguments[0], "mount", "--image", arguments[3], arguments[4]});
  }
  if (const auto exit_code = plyfs::commands::run_image_command(arguments)) {
    return *exit_code;
  }
  if (const auto exit_code = plyfs::commands::run_inspect(arguments)) {
    return *exit_code;
  }
  if (const auto exit_code = plyfs::commands::run_volume_transfer(arguments)) {
    return *exit_code;
  }
  if (const auto exit_code = plyfs::run_with_image(arguments)) {
    return *exit_code;
  }
  if (const auto exit_code = plyfs::run::run_command(arguments)) {
    return *exit_code;
  }
  if (const auto done = plyfs::store::run_command(arguments)) {
    if (arguments.size() > 2 && std::string_view{arguments[1]} == "rm") {
      plyfs::run::remove_kept_of_gone(arguments.subspan(2));
    }
    return *done;
  }
  const CommandLine line = plyfs::config::parse_command_line(arguments, surroundings());
  for (const std::string& warning : line.warnings) {
    complain(warning);
  }
  switch (line.action) {
    case Action::kPrint:
      (void)std::fputs(line.output.c_str(), stdout);
      return 0;
    case Action::kFail:
      return fail(line.failure);
    case Action::kMount:
    case Action::kPretendMount:
      return mount(line);
    case Action::kUmount:
      return plyfs::commands::umount(line, this_host());
    case Action::kCheck:
      return check(line);
  }
  return plyfs::config::kExitUsage;
}

}  // namespace

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  if (const auto filled = plyfs::sys::fill_standard_descriptors(); !filled) {
    complain("cannot open: /dev/null: " + filled.error().message() +
             "; give this root directory the usual devices");
    return plyfs::config::kExitSystem;
  }
  try {
    return run({argv, static_cast<std::size_t>(argc)});
  } catch (const std::exception& error) {  // memory, or a library
    complain(error.what());
    return plyfs::config::kExitSystem;
  }
}
