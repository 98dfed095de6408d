// Where live mounts are found.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace plyfs::control {

/// The directories in which this user's mounts may have their sockets, the preferred one first:
/// /run/plyfs (root), $XDG_RUNTIME_DIR/plyfs, /tmp/plyfs-UID, ~/.plyfs-run. UID is the one outside
/// of a user namespace, so that what is mounted within is found from outside, and root in there has
/// a place.
std::vector<std::string> socket_directories();

/// The first part of a socket's name: 16 hexadecimal digits of the mount point's hash.
std::string socket_prefix(const std::string& mountpoint);
/// PREFIX-PID.sock
std::string socket_name(const std::string& mountpoint, int pid);
/// The number in a socket's name; nullopt for other files.
std::optional<int> pid_of_socket(const std::string& name);

}  // namespace plyfs::control
