// The command line: which command, with which options. Reads nothing but its arguments and the file
// of --config.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/options_parser.h"
#include "plyfs/mount.h"
#include "plyfs/options.h"
#include "sys/unmount.h"

namespace plyfs::config {

/// What the command line does not say.
struct Surroundings {
  Caller caller = Caller::kOrdinary;
  std::string directory;  ///< the current one; empty when unknown
  /// $FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT, for those who called us by that name.
  WhiteoutFamily compatible_whiteout = WhiteoutFamily::kProbe;
};

enum class Action : unsigned char {
  kPrint,         ///< print `output`, exit 0
  kFail,          ///< print `failure`
  kMount,         ///< mount `options`
  kPretendMount,  ///< mount(8)'s -f: check `options`, mount nothing
  kUmount,        ///< unmount `target`
  kCheck,         ///< report on `options`
};

enum class OutputFormat : unsigned char { kText, kJson };

struct CommandLine {
  Action action = Action::kPrint;
  std::string output;
  Failure failure;
  Warnings warnings;  ///< for stderr, whatever the action
  MountOptions options;
  std::string target;
  std::string save;  ///< where to write the options of the mount; empty: nowhere
  sys::UnmountMode unmount_mode = sys::UnmountMode::kNow;
  OutputFormat format = OutputFormat::kText;
};

/// Understands `plyfs COMMAND ...`, the bare `plyfs -o ... MOUNTPOINT`, and by the name in
/// `arguments[0]` fuse-overlayfs, the helpers of mount(8) and umount(8). The mountpoint and what a
/// configuration file names come out absolute, all other paths as they were given.
CommandLine parse_command_line(std::span<const char* const> arguments,
                               const Surroundings& surroundings);

}  // namespace plyfs::config
