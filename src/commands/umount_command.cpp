#include "commands/umount_command.h"

#include <string>

#include "config/umount.h"
#include "control/client.h"
#include "store/commands.h"

namespace plyfs::commands {

int umount(const config::CommandLine& line, const sys::HostFacts& host) {
  const std::string mountpoint = store::mountpoint_of(line.target);
  const control::Daemons daemons{mountpoint};  // afterwards they are not to be found any more
  if (const auto failure = config::umount(mountpoint, line.unmount_mode, host)) {
    return store::complain(*failure);
  }
  if (line.unmount_mode == sys::UnmountMode::kNow) {
    daemons.wait_for_ends();
  }
  return 0;
}

}  // namespace plyfs::commands
