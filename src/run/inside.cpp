#include "run/inside.h"

#include "config/failure_text.h"
#include "run/accounts.h"
#include "run/environment.h"
#include "sys/sandbox/keeper.h"
#include "sys/sandbox/root_files.h"

namespace plyfs::run {
namespace {

std::string shell_of(const User& user) {
  return user.shell.starts_with('/') && sys::sandbox::is_program(user.shell) ? user.shell
                                                                             : "/bin/sh";
}

}  // namespace

void run_inside(const ProgramOptions& options, const sys::sandbox::Link& front) {
  const auto user = find_user(options.user);
  if (!user) {
    front.say(sys::sandbox::Word::kFailed, sys::sandbox::kSetupFailed,
              config::system_failure({"no such user or group in this root directory", options.user,
                                      user.error(), "name one of its /etc/passwd, or a number"})
                  .what);
    return;
  }
  sys::sandbox::Program program;
  program.arguments = options.command;
  if (program.arguments.empty()) {
    program.arguments.push_back(shell_of(*user));
  }
  program.environment = options.environment;
  if (!has_variable(program.environment, "HOME")) {
    program.environment.push_back("HOME=" + user->home);
  }
  program.directory = options.directory.empty() ? "/" : options.directory;
  program.account = user->account;
  program.set_groups = !options.one_id;
  program.no_new_privileges = options.one_id;
  program.terminal = options.terminal;
  sys::sandbox::keep(program, front);
}

}  // namespace plyfs::run
