#include "config/cli.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "config/cli_stack.h"
#include "config/config_file.h"
#include "config/failure_text.h"
#include "config/nearest.h"

namespace plyfs::config {
namespace {

constexpr std::string_view kHelp = R"(plyfs: a copy-on-write union of directories

Usage:
  plyfs mount [OPTIONS] MOUNTPOINT     mount a stack of layers
  plyfs umount [--lazy] MOUNT          unmount it, by its mountpoint or name
  plyfs ls | inspect MOUNT | rm NAME   the records of named mounts
  plyfs volume COMMAND                 create, list, inspect, remove volumes
  plyfs check [OPTIONS] [MOUNTPOINT]   tell what works on this machine, with remedies
  plyfs run STACK -- COMMAND           a program in the stack, as an ordinary user
  plyfs exec | ps | unshare            what runs, and further programs in it
  plyfs diff STACK                     what the upper layer changes: A, C and D lines
  plyfs commit STACK TARGET            the upper as a layer: a directory or an OCI layer tar
  plyfs flatten STACK TARGET           the merged tree as one directory or tar
  plyfs convert LAYER --to FORMAT      between the families of whiteouts
  plyfs -o OPTIONS MOUNTPOINT          the form of fuse-overlayfs and mount(8)
  plyfs --version

Examples:
  plyfs mount --lower /layers/top --lower /layers/base --upper up merged
  plyfs -o lowerdir=/layers/top:/layers/base,upperdir=up,workdir=work merged
  plyfs umount merged

See 'plyfs COMMAND --help' for the options of a command.
Exit codes: 0 done, 1 wrong usage, 2 system error, 32 mount or umount failed.
)";

constexpr std::string_view kMountFooter = R"(Examples:
  plyfs mount --lower /layers/top --lower /layers/base --upper up merged
  plyfs mount --lower /layers/base merged             read-only: there is no upper
  plyfs mount --lower / --upper up -o volatile,index=off merged
  plyfs mount --name web --lower image --upper up -v "$PWD/site:/srv:ro" -v logs:/var/log merged
  plyfs mount --name w2 --lower image --upper u2 --volumes-from web:ro merged2
  plyfs mount --save web.toml --name web --lower image --upper up -v logs:/var/log merged
  plyfs mount --config web.toml                       later, all of that again

Words of -o:
  lowerdir=A:B[::DATA]  lowerdir+=A  datadir+=A  upperdir=U  workdir=W  ro  rw
  redirect_dir=on|off  metacopy=on|off  index=on|off  xino=auto|on|off
  whiteout=auto|char|xattr|aufs  xattr=auto|trusted|user  userxattr
  fsync=auto|strict|volatile  volatile  writeback=on|off  threads=N  timeout=SECONDS
  noacl  noxattrs  uidmapping=DISK:SHOWN:COUNT  gidmapping=...  squash_to_root
  squash_to_uid=N  squash_to_gid=N  fsname=NAME  subtype=NAME
  volume=VOLUME  volumes-from=NAME[:ro]  strict-volumes  volume_mode=auto|fuse|bind
  config=FILE  uring=on|off  follow=on|off  passthrough=on|off
  allow_other  allow_root  [no]suid  [no]dev  [no]exec  noatime  auto_unmount
A comma or a colon inside a path is written \, or \: )";

constexpr std::string_view kCompatibleFooter = R"(Examples:
  plyfs -o lowerdir=/layers/top:/layers/base,upperdir=up,workdir=work merged
  plyfs -o lowerdir=/layers/top:/layers/base merged   read-only: there is no upper

Words of -o that are not known are reported and ignored in this form.)";

// Commands whose place is kept; each comes with its own issue.
constexpr auto kLaterCommands = std::to_array<std::string_view>({"apply"});

constexpr auto kCompatibleNames = std::to_array<std::string_view>(
    {"fuse-overlayfs", "mount.plyfs", "mount.fuse.plyfs", "mount.fuse3.plyfs"});

constexpr auto kUmountNames =
    std::to_array<std::string_view>({"umount.plyfs", "umount.fuse.plyfs", "umount.fuse3.plyfs"});

constexpr std::string_view kOverlayName = "fuse-overlayfs";

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

CommandLine later(std::string_view subject) {
  return fail_with(usage_failure({"not built yet", subject, Errno{ENOSYS}, "see --help"}));
}

std::string version_line(std::string_view program) {
  if (program == kOverlayName) {
    // Callers parse the first line, and ask for 1.10 or more.
    return "fuse-overlayfs: version 1.14 (plyfs " PLYFS_VERSION ")\n";
  }
  return "plyfs version " PLYFS_VERSION "\n";
}

/// Where the stack's options come from: a file, and what is given beside it.
struct MountWords {
  StackWords stack;
  VolumeWords volumes;
  std::string config_file;  ///< --config; else the last `config=` of -o counts

  std::optional<Failure> apply(UnknownWords unknown, const Surroundings& surroundings,
                               CommandLine& line) {
    for (const std::string& text : stack.option_strings) {
      if (config_file.empty()) {
        config_file = config_word(text).value_or("");
      }
    }
    if (!config_file.empty()) {
      if (auto failure = load_config(config_file, surroundings.directory, line)) {
        return failure;
      }
    }
    FromFile from_file = take_lists(line.options);
    auto failure = apply_stack_words(stack, unknown, line);
    failure = failure ? failure : apply_volume_words(volumes, line.options);
    return failure ? failure : add_lists(std::move(from_file), line.options);
  }
};

CLI::Option* add_config_option(CLI::App& app, MountWords& words) {
  return app.add_option("--config", words.config_file, "take the options that FILE has (TOML)")
      ->type_name("FILE");
}

CommandLine parse_mount(std::span<const char* const> arguments, const Surroundings& surroundings) {
  CommandLine line;
  MountWords words;
  std::string mountpoint;
  bool foreground = false;
  CLI::App app{"Mount a stack of layers; returns once the mount is usable.", "plyfs mount"};
  add_stack_options(app, words.stack);
  add_volume_options(app, words.volumes);
  add_config_option(app, words);
  app.add_option("--save", line.save, "write the file that repeats this call")->type_name("FILE");
  app.add_flag("-f,--foreground", foreground, "stay in the foreground");
  app.add_flag("-d,--debug", line.options.debug, "log every request on stderr (implies -f)");
  app.add_option("MOUNTPOINT", mountpoint, "an existing directory");
  app.footer(std::string{kMountFooter});
  if (auto settled = run_parser(app, arguments, "plyfs mount")) {
    return *std::move(settled);
  }
  if (auto failure = words.apply(UnknownWords::kRefuse, surroundings, line)) {
    return fail_with(*std::move(failure));
  }
  line.options.foreground = line.options.foreground || foreground;
  if (!mountpoint.empty()) {
    line.options.mountpoint = mountpoint;
  }
  if (line.options.mountpoint.empty()) {
    return fail_with(usage_failure(
        {"wrong usage", "MOUNTPOINT is required", Errno{EINVAL}, "see 'plyfs mount --help'"}));
  }
  finish_options(surroundings, line);
  if (!line.save.empty() && !line.save.starts_with('/')) {
    line.save = surroundings.directory + "/" + line.save;
  }
  line.action = Action::kMount;
  return line;
}

CommandLine parse_check(std::span<const char* const> arguments, const Surroundings& surroundings) {
  CommandLine line;
  MountWords words;
  std::string mountpoint;
  bool json = false;
  CLI::App app{"Tell what will work on this machine and what will not, with the remedy.",
               "plyfs check"};
  add_stack_options(app, words.stack);
  add_config_option(app, words);
  app.add_flag("--json", json, "print JSON");
  app.add_option("MOUNTPOINT", mountpoint, "checked too when given");
  app.footer(
      "Examples:\n  plyfs check\n  plyfs check --json --lower /layers/base --upper up merged\n"
      "  plyfs check --config web.toml");
  if (auto settled = run_parser(app, arguments, "plyfs check")) {
    return *std::move(settled);
  }
  if (auto failure = words.apply(UnknownWords::kRefuse, surroundings, line)) {
    return fail_with(*std::move(failure));
  }
  if (!mountpoint.empty()) {
    line.options.mountpoint = mountpoint;
  }
  finish_options(surroundings, line);
  line.action = Action::kCheck;
  line.format = json ? OutputFormat::kJson : OutputFormat::kText;
  return line;
}

CommandLine parse_umount(std::span<const char* const> arguments) {
  CommandLine line;
  bool lazy = false;
  CLI::App app{"Unmount, and wait until the daemon has ended.", "plyfs umount"};
  app.add_flag("-l,--lazy", lazy, "detach now, end when nothing uses it any more");
  app.add_option("MOUNTPOINT", line.target, "where it is mounted, or its name")->required();
  app.footer("Examples:\n  plyfs umount merged\n  plyfs umount --lazy merged");
  if (auto settled = run_parser(app, arguments, "plyfs umount")) {
    return *std::move(settled);
  }
  line.action = Action::kUmount;
  line.unmount_mode = lazy ? sys::UnmountMode::kLazy : sys::UnmountMode::kNow;
  return line;
}

/// As umount(8) calls the helper of a type: MOUNTPOINT [-nlfvr] [-N NAMESPACE] [-t TYPE].
CommandLine parse_umount_helper(std::span<const char* const> arguments) {
  CommandLine line;
  bool lazy = false;
  std::string ignored;
  CLI::App app{"Unmount, with the volumes that are bound over it.", "umount.fuse.plyfs"};
  app.add_flag("-l,--lazy", lazy, "detach now, end when nothing uses it any more");
  app.add_flag("-n,-f,-v,-r,-i")->description("accepted and ignored");
  app.add_option("-t", ignored, "accepted and ignored")->type_name("TYPE");
  app.add_option("-N", ignored, "accepted and ignored")->type_name("NAMESPACE");
  app.add_option("MOUNTPOINT", line.target, "where it is mounted")->required();
  if (auto settled = run_parser(app, arguments, "umount.fuse.plyfs")) {
    return *std::move(settled);
  }
  line.action = Action::kUmount;
  line.unmount_mode = lazy ? sys::UnmountMode::kLazy : sys::UnmountMode::kNow;
  return line;
}

/// `[SOURCE] MOUNTPOINT -o ...`, as fuse-overlayfs, mount(8) and mount.fuse3 call.
CommandLine parse_compatible(std::string_view program, std::span<const char* const> arguments,
                             const Surroundings& surroundings) {
  CommandLine line;
  MountWords words;
  std::vector<std::string> positionals;
  std::string ignored_type;
  bool foreground = false;
  bool version = false;
  CLI::App app{"Mount a stack of layers.", "plyfs"};
  add_repeated(app, "-o", words.stack.option_strings, "mount options")->type_name("OPTS");
  app.add_flag("-f,--foreground", foreground, "stay in the foreground");
  app.add_flag("-d,--debug", line.options.debug, "log every request on stderr (implies -f)");
  app.add_flag("-V,--version", version, "print the version");
  app.add_flag("-s,-n,-v")->description("accepted and ignored");
  app.add_option("-t", ignored_type, "accepted and ignored")->type_name("TYPE");
  app.add_option("MOUNTPOINT", positionals, "the last one is the mountpoint");
  app.footer(std::string{kCompatibleFooter});
  if (auto settled = run_parser(app, arguments, "plyfs")) {
    return *std::move(settled);
  }
  if (version) {
    return print(version_line(program));
  }
  if (positionals.size() > 2) {
    return fail_with(usage_failure({"too many arguments", positionals[2], Errno{E2BIG},
                                    "give a source, which is ignored, and a mountpoint"}));
  }
  if (program == kOverlayName) {
    line.options.fsname = kOverlayName;
    line.options.subtype = kOverlayName;
    line.options.whiteout = surroundings.compatible_whiteout;
    // It and the tools that call it could not follow them when they get the upper back.
    line.options.redirect_dir = Toggle::kOff;
    line.options.metacopy = Toggle::kOff;
  }
  if (auto failure = words.apply(UnknownWords::kWarn, surroundings, line)) {
    return fail_with(*std::move(failure));
  }
  if (!positionals.empty()) {
    line.options.mountpoint = positionals.back();
  }
  // mount(8) hands its own -f, "pretend", to its helpers.
  const bool helper = program.starts_with("mount.");
  line.options.foreground = foreground && !helper;
  line.action = foreground && helper ? Action::kPretendMount : Action::kMount;
  finish_options(surroundings, line);
  return line;
}

CommandLine parse_own(std::span<const char* const> arguments, const Surroundings& surroundings) {
  if (arguments.empty()) {
    return print(std::string{kHelp});
  }
  const std::string_view command = arguments.front();
  const std::span<const char* const> rest = arguments.subspan(1);
  if (command == "mount") {
    return parse_mount(rest, surroundings);
  }
  if (command == "umount" || command == "unmount") {
    return parse_umount(rest);
  }
  if (command == "check") {
    return parse_check(rest, surroundings);
  }
  if (command == "--help" || command == "-h" || command == "help") {
    return print(std::string{kHelp});
  }
  if (std::ranges::find(kLaterCommands, command) != kLaterCommands.end()) {
    return later(command);
  }
  const bool bare = std::ranges::any_of(arguments, [](std::string_view argument) {
    return argument.starts_with("-o") || argument == "--version" || argument == "-V";
  });
  if (bare || command.starts_with('-')) {
    return parse_compatible("plyfs", arguments, surroundings);
  }
  static const std::vector<std::string> kCommands{
      "mount", "umount", "run",  "ps",     "ls",      "inspect", "rm",   "volume",
      "image", "check",  "diff", "commit", "flatten", "convert", "help", "unmount"};
  return fail_with(
      usage_failure({"unknown command", command, Errno{EINVAL},
                     suggestion(command, kCommands, "see 'plyfs --help' for the known ones")}));
}

}  // namespace

CommandLine parse_command_line(std::span<const char* const> arguments,
                               const Surroundings& surroundings) {
  const std::string_view program = arguments.empty() ? "plyfs" : base_name(arguments.front());
  const auto rest = arguments.empty() ? arguments : arguments.subspan(1);
  if (std::ranges::find(kCompatibleNames, program) != kCompatibleNames.end()) {
    return parse_compatible(program, rest, surroundings);
  }
  if (std::ranges::find(kUmountNames, program) != kUmountNames.end()) {
    return parse_umount_helper(rest);
  }
  return parse_own(rest, surroundings);
}

}  // namespace plyfs::config
