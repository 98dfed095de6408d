// Asking a live mount.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::control {

/// Sends `request` to the daemon of what is mounted at `mountpoint` (any path that leads there; the
/// newest, where mounts lie on each other). Errors: ENOENT no mount of this user there; those of
/// the connection; EPROTO for an answer that is none. Removes sockets that dead daemons left.
/// Strings in the answer are escaped (base/text.h).
Result<nlohmann::ordered_json> ask(const std::string& mountpoint, const std::string& request);

/// The same, of the daemon with that number.
Result<nlohmann::ordered_json> ask_process(int process, const std::string& request);

/// `request` to every live mount of this user; those that do not answer are left out.
std::vector<nlohmann::ordered_json> ask_all(const std::string& request);

/// The daemons that serve what is mounted at a place, so that one can wait for their end.
class Daemons {
 public:
  /// As many as there are mounts of this user on each other at `mountpoint`.
  explicit Daemons(const std::string& mountpoint);
  /// To be called when the mount was taken off. Returns when each whose mount is gone has ended,
  /// with all that it had open (locks, the layers). Another mount namespace may still show it:
  /// often one that has just been made, and goes away; for that it waits two seconds.
  void wait_for_ends() const;

 private:
  struct Daemon {
    std::string socket;
    sys::UniqueFd process;
  };
  std::vector<Daemon> daemons_;
};

}  // namespace plyfs::control
