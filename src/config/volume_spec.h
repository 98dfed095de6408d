// The text of a VOLUME: host path or name, path in the mount, options. Pure; looks nothing up.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "plyfs/mount.h"
#include "plyfs/options.h"

namespace plyfs::config {

/// `/host:/path[:OPT,...]`, `name:/path[:OPT,...]` or `/path`. A colon or backslash inside a path
/// is written `\:`, `\\`. Adds to `options.volume_specs`; on failure (exit code 1) adds nothing.
std::optional<Failure> add_volume(std::string_view text, MountOptions& options);

/// `NAME[:ro]`. Adds to `options.volumes_from`.
std::optional<Failure> add_volumes_from(std::string_view text, MountOptions& options);

/// Volumes and mounts are named [A-Za-z0-9][A-Za-z0-9_.-]*, up to 255 bytes. `what` says whose name
/// it is ("bad volume name").
std::optional<Failure> check_name(std::string_view name, std::string_view what);

/// "/a//b/./c/" is "/a/b/c". nullopt when `path` is relative or has a component "..".
std::optional<std::string> normalised(std::string_view path);

}  // namespace plyfs::config
