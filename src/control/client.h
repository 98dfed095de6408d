// Asking a live mount.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "plyfs/result.h"

namespace plyfs::control {

/// Sends `request` to the daemon of what is mounted at `mountpoint` (any path that leads there; the
/// newest, where mounts lie on each other). Errors: ENOENT no mount of this user there; those of
/// the connection; EPROTO for an answer that is none. Removes sockets that dead daemons left.
/// Strings in the answer are escaped (base/text.h).
Result<nlohmann::ordered_json> ask(const std::string& mountpoint, const std::string& request);

/// `request` to every live mount of this user; those that do not answer are left out.
std::vector<nlohmann::ordered_json> ask_all(const std::string& request);

}  // namespace plyfs::control
