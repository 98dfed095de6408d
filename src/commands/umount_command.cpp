#include "commands/umount_command.h"

#include <string>

#include "config/umount.h"
#include "control/client.h"
#include "control/description.h"
#include "store/commands.h"

namespace plyfs::commands {

int umount(const config::CommandLine& line, const sys::HostFacts& host) {
  config::UmountRequest request;
  request.target = store::mountpoint_of(line.target);
  request.mode = line.unmount_mode;
  if (request.mode == sys::UnmountMode::kLazy) {
    // Asks nobody: the daemon may be stopped.
    const auto failure = config::umount(request, host);
    return failure ? store::complain(*failure) : 0;
  }
  const control::Daemons daemons{request.target};  // afterwards they are not to be found any more
  if (const auto described = control::ask(request.target, "describe")) {
    for (const control::BoundVolume& bound : control::bound_volumes(*described)) {
      request.bound.push_back({bound.place, bound.source});
    }
  }
  if (const auto failure = config::umount(request, host)) {
    return store::complain(*failure);
  }
  daemons.wait_for_ends();
  return 0;
}

}  // namespace plyfs::commands
